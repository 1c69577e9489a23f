"""A made-up third study needs its folder, one line and its parameters, and goes through every verb from there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from medtransfer.data.manifest import ZONES
from medtransfer.files import read_json
from third_study.workspace import CLASSES, COUNTS, NETWORKS, ROOT, STUDY, copy_source, write_workspace

HERE = Path(__file__).parent
MODEL = "models:/two-heads@champion"
FIT = ["fit", STUDY, "multitask"]
VERBS = [
    ["code"],
    ["check"],
    ["prepare", "chest"],
    ["gate"],
    *([*FIT, network] for network in NETWORKS),
    [*FIT, "all"],
    *([verb, STUDY] for verb in ("predict", "score", "audit", "explain", "register", "report")),
    ["overview"],
    ["evaluate", "--model", MODEL, "--manifest", "data/chest/labels.csv"],
]
HEADS = {"probability": CLASSES, "severity": ZONES}


class Finished:
    """A workspace after every verb, and what was printed on the way."""

    def __init__(self, folder, printed):
        self.folder, self.out = folder, folder / "out" / STUDY
        self.printed = " ".join(printed.split())

    def read(self, path):
        return read_json(self.folder / path, list if path.endswith("champions.json") else dict)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("third")
    source = copy_source(folder)
    write_workspace(folder)
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    environment |= {"PYTHONPATH": str(source), "DVC_ROOT": str(folder)}
    command = [sys.executable, str(HERE / "verbs.py"), json.dumps(VERBS), MODEL, "served.csv"]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr[-4000:]
    return Finished(folder, result.stderr)


@pytest.mark.slow
def test_studies_whose_data_sets_are_absent_are_left_out_by_name(done):
    assert (
        "attentive_transfer: reads 'natural', which is not a data set in params.yaml; it cannot be fitted"
        in " ".join(done.printed.split())
    )
    assert [path.stem for path in (done.folder / "out/gate/studies").iterdir()] == [STUDY]
    assert (done.folder / f"out/code/fit-{STUDY}-multitask.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_both_loaders_train_a_network_and_both_heads_are_stored(network, done):
    place = f"multitask/{network}/scratch/seed0"
    history = pd.read_csv(done.out / "records" / place / "history.csv")
    assert len(history) == 2
    assert (history["train/loss"] - history["train/loss_diagnosis"] - history["train/loss_severity"]).abs().max() < 1e-5
    assert history[["val/macro_auroc", "val/mae_severity"]].notna().all().all()
    stored = done.read(f"out/{STUDY}/weights/{place}/config.json")
    assert {name: tuple(head["outputs"]) for name, head in stored["heads"].items()} == {
        "diagnosis": CLASSES,
        "severity": ZONES,
    }
    assert f"multitask · {network} · seed 0: already trained, kept" in done.printed


@pytest.mark.slow
def test_the_predictions_table_has_the_outputs_of_both_heads(done):
    table = pd.read_parquet(done.out / "results" / "predictions.parquet")
    assert {kind: tuple(rows["output"].unique()) for kind, rows in table.groupby("kind")} == HEADS
    assert set(table["variant"]) == set(NETWORKS)
    images = COUNTS["val"] + COUNTS["test"]
    assert len(table) == len(NETWORKS) * images * (len(CLASSES) + len(ZONES))
    chance = table[table["kind"] == "probability"].groupby(["variant", "image_id"])
    assert (chance["score"].sum() - 1).abs().max() < 1e-5
    assert (chance["target"].sum() == 1).all()
    unknown = table[table["target"].isna()]
    assert set(unknown["output"]) == set(ZONES)
    assert {int(Path(image).stem) % 5 for image in unknown["image_id"]} == {0}


@pytest.mark.slow
def test_the_gallery_shows_the_same_cases_under_both_networks(done):
    facts = done.read(f"out/{STUDY}/results/explanations/gallery/gallery.json")
    assert [network["title"] for network in facts["networks"]] == list(NETWORKS)
    assert all(len(network["answers"]) == len(facts["cases"]) > 1 for network in facts["networks"])
    assert {given["answer"] for network in facts["networks"] for given in network["answers"]} <= set(CLASSES)
    page = (done.folder / "out/report" / STUDY / "gallery/index.html").read_text(encoding="utf-8")
    assert page.count('<section class="case">') == len(facts["cases"])


@pytest.mark.slow
def test_the_candidate_is_audited_for_each_class(done):
    audits = done.read("metrics/audit.json")["audits"]
    assert [one["positive"] for one in audits] == list(CLASSES)
    assert {one["model"]["verdict"] for one in audits} == {"cannot tell"}


@pytest.mark.slow
def test_metrics_of_both_heads_reach_the_file_and_the_tracker(done):
    from mlflow import MlflowClient

    card = done.read(f"out/{STUDY}/results/card.json")
    assert set(card) == {f"{name}/scratch/chest/{split}" for name in NETWORKS for split in ("val", "test")}
    client = MlflowClient(f"sqlite:///{done.folder}/mlflow.db")
    home = client.get_experiment_by_name(STUDY).experiment_id
    runs = client.search_runs([home], "tags.phase != 'summary'")
    tracked = {run.data.tags["network"]: run.data.metrics for run in runs}
    assert set(tracked) == set(NETWORKS)
    for network in NETWORKS:
        entry = card[f"{network}/scratch/chest/test"]
        auroc = entry["probability"]["metrics"]["macro_auroc"]["mean"]
        errors = entry["severity"]["by_output"]
        assert 0 <= auroc <= 1
        assert set(errors) == set(ZONES)
        assert tracked[network]["test/macro_auroc"] == round(auroc, 3)
        assert tracked[network]["test/mae_severity"] == round(entry["severity"]["metrics"]["mae"]["mean"], 3)
        assert tracked[network]["test/mae_zone_2"] == round(errors["zone_2"]["metrics"]["mae"]["mean"], 3)


@pytest.mark.slow
def test_the_better_network_by_validation_becomes_the_champion(done):
    card = done.read(f"out/{STUDY}/results/card.json")
    values = {
        name: card[f"{name}/scratch/chest/val"]["probability"]["metrics"]["macro_auroc"]["mean"] for name in NETWORKS
    }
    (champion,) = done.read(f"out/{STUDY}/results/champions.json")
    assert champion["value"] == max(values.values()) == values[champion["variant"]]
    assert (champion["model"], champion["alias"], champion["version"]) == ("two-heads", "champion", 1)


@pytest.mark.slow
def test_the_page_shows_both_heads_and_the_front_page_leads_to_it(done):
    page = (done.folder / f"out/report/{STUDY}/results.md").read_text(encoding="utf-8")
    table = page.partition("### Both heads")[2].partition("###")[0]
    assert "| Network | Diagnosis Mean AUROC | Diagnosis Accuracy | Severity Mean absolute error |" in table
    numbers = done.read(f"out/{STUDY}/results/card.json")
    for network in NETWORKS:
        entry = numbers[f"{network}/scratch/chest/test"]
        auroc, mae = entry["probability"]["metrics"]["macro_auroc"], entry["severity"]["metrics"]["mae"]
        (row,) = [line for line in table.splitlines() if line.startswith(f"| {network} |")]
        assert f"| {auroc['mean']:.3f} " in row
        assert f"| {mae['mean']:.3f} " in row
    assert all(f"| {zone} | " in page.partition("### Severity by zone")[2] for zone in ZONES)
    front = (done.folder / "out/report/index.html").read_text(encoding="utf-8")
    assert f'href="{STUDY}/index.html"' in front


@pytest.mark.slow
def test_the_registered_model_is_evaluated_on_both_heads(done):
    measured = done.read("out/evaluate/metrics.json")
    assert measured["images"] == sum(COUNTS.values())
    assert list(measured["by_output"]) == ["diagnosis: all classes", *ZONES]
    assert 0 <= measured["by_output"]["diagnosis: all classes"]["macro_auroc"]["value"] <= 1
    assert all(measured["by_output"][zone]["mae"]["value"] >= 0 for zone in ZONES)
    table = pd.read_parquet(done.folder / "out/evaluate/predictions.parquet")
    assert {kind: tuple(rows["output"].unique()) for kind, rows in table.groupby("kind")} == HEADS


@pytest.mark.slow
def test_the_registered_model_serves_both_heads(done):
    served = pd.read_csv(done.folder / "served.csv")
    scores = [f"{kind}_{output}" for kind, outputs in HEADS.items() for output in outputs]
    assert list(served.columns) == ["label", *scores, *(f"calibrated_{name}" for name in CLASSES)]
    assert len(served) == 3
    assert set(served["label"]) <= set(CLASSES)


def guide(heading):
    """The section of docs/studies.md below a heading."""
    text = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    return re.split(r"\n##+ ", text.partition(f"# {heading}\n")[2])[0]


def listed(heading):
    """Paths in the first column of the table below a heading."""
    return re.findall(r"^\| `([^`]+)` \|", guide(heading), flags=re.MULTILINE)


def test_the_guide_names_exactly_the_files_of_the_third_study():
    folder = HERE / STUDY
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sorted(listed("The study's own files")) == sorted(str(path.relative_to(folder)) for path in files)


def test_the_guide_names_at_most_six_files_that_a_study_touches():
    touched = listed("The files that it touches")
    assert 0 < len(touched) <= 6
    assert all((ROOT / path).is_file() for path in touched)


def test_the_places_where_something_is_changed_exist():
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|$", guide("Where do I change …?"), flags=re.MULTILINE)
    documented = {path for row in rows for path in re.findall(r"`([\w./]+)`", row) if "/" in path}
    assert len(documented) > 30
    assert not {path for path in documented if not (ROOT / "src" / "medtransfer" / path).exists()}


def test_the_guide_s_block_of_a_phase_is_one_that_dvc_runs(tmp_path):
    """With the block and the study in the list of the common stages, outputs are where the study reads them."""
    from dvc.parsing import DataResolver
    from dvc.repo import Repo

    (block,) = re.findall(r"```yaml\n(.*?)```", guide("The files that it touches"), flags=re.DOTALL)
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    pipeline["stages"] |= yaml.safe_load(block)
    pipeline["stages"]["predict"]["foreach"].append(STUDY)  # one list for all stages that every study has
    write_workspace(tmp_path)
    with Repo(str(ROOT), uninitialized=True) as repo:
        stages = DataResolver(repo, str(tmp_path), pipeline).resolve()["stages"]
    for network in NETWORKS:
        stage = stages[f"fit-{STUDY}-multitask@{network}"]
        assert stage["cmd"] == f"python -m medtransfer fit {STUDY} multitask {network}"
        assert stage["outs"] == [f"out/{STUDY}/{kind}/multitask/{network}" for kind in ("weights", "records")]
        assert "out/gate/datasets/chest.json" in stage["deps"]
    assert {f"{verb}@{STUDY}" for verb in ("predict", "score", "audit", "register", "report")} <= set(stages)
    assert f"out/{STUDY}/weights" in stages[f"register@{STUDY}"]["deps"]
