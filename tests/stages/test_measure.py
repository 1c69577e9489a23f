"""The truncated study on toy images through every verb: fits, predictions, cost and CKA, its page, the front page."""

import json
import re

import pytest

from medtransfer.cli import run
from medtransfer.models.classifier import build_network
from medtransfer.models.networks import network_config

STUDY = "truncated_transfer"
WHOLE, CUT = "resnet18", "resnet18_to_layer2.1"
VARIANTS = (f"{WHOLE}-random", f"{WHOLE}-transfer", f"{CUT}-transfer")
TRAIN = {"steps": 2, "validate_every": 1, "batch_size": 4}


@pytest.fixture
def fitted(toy):
    toy.params[STUDY] |= {
        "variants": list(VARIANTS),
        "tasks": {"covid": {"dataset": "ct", "positive": "covid"}},
        "regimes": {"all": {}},
        "protocols": ["paper"],
        "seeds": [0, 1],
        "start": {WHOLE: {"kind": "train"}},
        "augment": {"crop": 32},
    }
    toy.params[STUDY]["train"] |= TRAIN
    pretrain = toy.params[STUDY]["pretrain"]
    pretrain |= {"dataset": "ct", "augment": {"crop": 32}, "train": pretrain["train"] | {"batch_size": 4, "epochs": 1}}
    toy.write_params()
    toy.draw(counts=(16, 10, 12))
    for words in (["prepare", "ct"], ["gate"], *(["fit", STUDY, phase, "all"] for phase in ("pretrain", "finetune"))):
        assert run(words) == 0, words
    return toy


@pytest.mark.slow
def test_networks_are_measured_and_the_report_shows_it(fitted, capsys):
    for words in (
        *([verb, STUDY] for verb in ("predict", "measure", "score", "audit", "explain", "register", "report")),
        ["overview"],
    ):
        assert run(words) == 0, f"{words}: {capsys.readouterr().err[-2000:]}"
    folder = fitted.folder / "out" / STUDY / "results"
    assert_costs(json.loads((folder / "cost.json").read_text(encoding="utf-8")))
    assert_similarity(json.loads((folder / "similarity.json").read_text(encoding="utf-8")))
    assert_registered(json.loads((folder / "champions.json").read_text(encoding="utf-8")))
    report = fitted.folder / "out" / "report"
    page = (report / STUDY / "index.html").read_text(encoding="utf-8")
    for words in ("Fig. 3", "Fig. 5", "Fig. 7", "Pareto", "CKA", "Holm", CUT):
        assert words in page
    assert_gallery(report / STUDY, fitted.folder)
    assert f'href="{STUDY}/index.html"' in (report / "index.html").read_text(encoding="utf-8")


def assert_gallery(report, folder):
    """Every cell has a map or says why not; the sheets are artefacts of the networks' runs."""
    page = (report / "gallery" / "index.html").read_text(encoding="utf-8")
    assert page.count("<img") > 12
    assert 'src=""' not in page
    assert 'href="gallery/index.html"' in (report / "index.html").read_text(encoding="utf-8")
    facts = json.loads((folder / "out" / STUDY / "results/explanations/gallery/gallery.json").read_text())
    assert facts["not_scored"].startswith("not applicable")
    assert not list(report.rglob("*.png"))
    sheets = list((folder / "mlartifacts").rglob("explanations/*.png"))
    assert {path.stem for path in sheets} <= {"correct", "failed"}
    assert len({path.parent for path in sheets}) == len(facts["networks"])
    linked = set(re.findall(r'href="http://127\.0\.0\.1:5000/#/experiments/\d+/runs/([0-9a-f]{32})"', page))
    assert linked == {path.parents[2].name for path in sheets}


def assert_costs(found):
    assert list(found["networks"]) == [WHOLE, CUT]
    whole, cut = (found["networks"][name] for name in (WHOLE, CUT))
    assert cut["parameters"] == sum(p.numel() for p in build_network(network_config(CUT), 2).parameters())
    for name in ("parameters", "multiply_adds"):
        assert 0 < cut[name] < whole[name]
    assert min(cut["step_seconds"], cut["latency_seconds"]) > 0
    assert (found["side"], found["batch"], found["machine"]["device"]) == (32, 4, "cpu")


def assert_registered(champions):
    from mlflow import MlflowClient

    (champion,) = champions
    assert (champion["model"], champion["condition"], champion["metric"]) == (
        "covid-truncated",
        "covid-all-paper",
        "auprc",
    )
    version = MlflowClient("sqlite:///mlflow.db").get_model_version_by_alias("covid-truncated", "champion")
    assert (int(version.version), version.tags["variant"]) == (champion["version"], champion["variant"])
    assert version.tags["val_auprc"] == f"{champion['value']:.4f}"


def assert_similarity(found):
    assert found["images"] == {"ct": 12}
    assert [(fit["variant"], fit["seed"]) for fit in found["fits"]] == [
        (variant, seed) for variant in VARIANTS[1:] for seed in (0, 1)
    ]
    blocks = found["fits"][0]["blocks"]
    assert list(found["fits"][-1]["blocks"]) == [name for name in blocks if name < "layer3"]
    # two steps at 0.0003 leave the stem nearly as it was
    assert blocks["layer1.0"] > 0.8
    assert all(value is None or value <= 1 for value in blocks.values())


def test_without_any_report_there_is_no_front_page(toy, capsys):
    assert run(["overview"]) == 2
    assert "no study has a report; run: medtransfer report attentive_transfer" in capsys.readouterr().err
