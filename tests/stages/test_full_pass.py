"""One network, one seed, one epoch through every verb of the pipeline, then the registered model on new images."""

import json

import pytest

from medtransfer.cli import run

STUDY = "attentive_transfer"
NETWORK = "resnet18_attn1"


@pytest.mark.slow
def test_from_images_to_a_champion_and_its_evaluation(toy, capsys):
    from mlflow import MlflowClient

    toy.draw(counts=(16, 10, 10))
    for words in (
        ["prepare", "ct"],
        ["gate"],
        ["fit", STUDY, "start", "all"],
        ["fit", STUDY, "finetune", NETWORK, "--condition", "none"],
        ["predict", STUDY],
        ["score", STUDY],
        ["audit", STUDY],
        ["register", STUDY],
        ["transferability", STUDY],
        ["explain", STUDY],
        ["report", STUDY],
        ["overview"],
    ):
        assert run(words) == 0, f"{words}: {capsys.readouterr().err[-2000:]}"
    client = MlflowClient(f"sqlite:///{toy.folder}/mlflow.db")
    home = [client.get_experiment_by_name(STUDY).experiment_id]
    runs = client.search_runs(home, "tags.phase != 'summary'")
    assert len(client.search_runs(home, "tags.phase = 'summary'")) == 1
    record_file = toy.folder / f"out/{STUDY}/records/finetune/{NETWORK}/none/seed0/run.json"
    record = json.loads(record_file.read_text(encoding="utf-8"))
    assert [found.info.run_id for found in runs] == [record["run_id"]]
    assert {"test/auroc_covid", "test/auprc_covid", "fit/seconds"} <= runs[0].data.metrics.keys()
    assert {"phase": "finetune", "variant": NETWORK, "condition": "none", "chain": "none"}.items() <= runs[
        0
    ].data.tags.items()
    champion = client.get_model_version_by_alias("covid-ct", "champion")
    assert champion.tags["condition"] == "none"
    assert champion.tags["audit"].startswith("cannot tell: too few patients")
    (written,) = json.loads((toy.folder / f"out/{STUDY}/results/champions.json").read_text(encoding="utf-8"))
    assert (written["model"], written["variant"], written["run_key"]) == ("covid-ct", NETWORK, record["run_key"])
    assert (toy.folder / f"out/report/{STUDY}/index.html").stat().st_size > 1000
    front = (toy.folder / "out/report/index.html").read_text(encoding="utf-8")
    assert f'href="{STUDY}/index.html"' in front
    assert "model cannot tell" in front
    (row,) = (toy.folder / "metrics" / STUDY / "covid-ct").iterdir()
    assert row.stem == NETWORK
    assert {"condition", "auroc", "auprc", "f1", "mse", "images"} <= set(json.loads(row.read_text(encoding="utf-8")))
    (audit,) = json.loads((toy.folder / "metrics/audit.json").read_text(encoding="utf-8"))["audits"]
    assert audit["weights"] == champion.tags["sha256"]
    evaluate_the_champion(toy, capsys)


def evaluate_the_champion(toy, capsys):
    model = ["evaluate", "--model", "models:/covid-ct@champion"]
    assert run([*model, "--manifest", "data/ct/labels.csv"]) == 0
    measured = json.loads((toy.folder / "out/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert measured["images"] == 36
    assert 0 <= measured["metrics"]["auroc"]["value"] <= 1
    capsys.readouterr()
    assert run([*model, "--images", "data"]) == 0
    assert "no folder is named like a class: images have no labels" in capsys.readouterr().err
    assert run([*model, "--images", "nowhere"]) == 2
    assert "nowhere: there is no such folder" in capsys.readouterr().err
    assert run(["evaluate", "--model", "models:/absent@champion", "--images", "data/ct/images"]) == 2
    assert "absent" in capsys.readouterr().err
