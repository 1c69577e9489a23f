"""The verb audit: registered weights, predictions of a model from elsewhere, and what each of them leaves open."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtransfer.cli import run
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.weights import save_weights
from network_heads import class_heads

NETWORK = NetworkConfig(backbone="test_resnet")
PREPROCESSING = {"size": 40, "crop": 32, "channels": 1, "depth": 8, "equalize": False, "window": None}
PREPROCESSING |= {"mean": [0.5], "std": [0.3]}
IMAGES = 80
MANIFEST = ["--manifest", "new/labels.csv"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Noise whose upper left corner tells the label, with lung masks, and a network that was never trained."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    (tmp_path / "new").mkdir()
    mask = np.zeros((40, 40), np.uint8)
    mask[12:30, 8:32] = 6
    Image.fromarray(mask).save("new/mask.png")
    for number in range(IMAGES):
        pixels = draw.integers(60, 150, (40, 40), dtype=np.uint8)
        if number % 2:
            pixels[5:9, 5:11] = 240
        Image.fromarray(pixels).save(f"new/{number}.png")
    rows = {"image": [f"{n}.png" for n in range(IMAGES)], "patient_id": [f"p{n}" for n in range(IMAGES)]}
    rows |= {"label": ["other", "covid"] * (IMAGES // 2), "source": ["elm", "fir", "fir", "elm"] * (IMAGES // 4)}
    table = pd.DataFrame(rows | {"mask": "mask.png"})
    table.to_csv("new/labels.csv", index=False)
    boxes = pd.DataFrame({"image": rows["image"], "sex": ["F", "M", "M", "F"] * (IMAGES // 4)})
    for name, edge in {"left": 5, "top": 5, "right": 11, "bottom": 9}.items():
        boxes[name] = [edge if n % 2 else "" for n in range(IMAGES)]
    boxes.to_csv("notes.csv", index=False)
    pd.DataFrame({"image": rows["image"], "score": np.arange(IMAGES) % 2 + draw.normal(0, 0.3, IMAGES)}).to_csv(
        "scores.csv", index=False
    )
    extra = {"dataset": "old", "positive": "covid", "fit": {}}
    heads = class_heads(("other", "covid"))
    network = build_network(NETWORK, 2, seed=0)
    save_weights(network, tmp_path / "w", config=NETWORK, heads=heads, preprocessing=PREPROCESSING, extra=extra)
    return tmp_path


def audited(folder):
    (entry,) = json.loads((folder / "out/audits.json").read_text())["audits"]
    return entry


def rows(entry, half):
    return {row["name"]: row for row in entry[half]["rows"]}


def test_weights_are_audited_with_masks_and_annotations(folder):
    assert run(["audit", "--weights", "w", *MANIFEST, "--annotations", "notes.csv"]) == 0
    entry = audited(folder)
    assert entry["data"]["verdict"] == "confounded"
    assert {name for name, row in rows(entry, "data").items() if row["sign"] == "confounded"} == {
        "border",
        "outside the lungs",
        "markers",
    }
    assert {"lungs masked", "markers covered", "sex readable", "source readable, positives"} <= set(
        rows(entry, "model")
    )
    assert entry["weights"] == json.loads((folder / "w/config.json").read_text())["sha256"]
    (page,) = folder.glob("out/report/*/index.html")
    assert "Does the model use a shortcut?" in page.read_text()


def test_boxes_of_the_raw_file_are_places_of_the_cropped_view(folder):
    run(["audit", "--weights", "w", *MANIFEST, "--annotations", "notes.csv"])
    from medtransfer.training.auditing import _boxes

    box = _boxes(np.array([[5, 5, 11, 9]]) / 40, size=40, crop=32)[0]
    assert np.argwhere(box).min(0).tolist() == [1, 1]
    assert np.argwhere(box).max(0).tolist() == [4, 6]


def test_predictions_alone_give_the_data_half_and_the_sources(folder):
    assert run(["audit", "--predictions", "scores.csv", *MANIFEST, "--positive", "covid"]) == 0
    entry = audited(folder)
    assert (entry["data"]["verdict"], entry["model"]["verdict"]) == ("confounded", "cannot tell")
    assert set(rows(entry, "model")) == {"model", "source elm", "source fir", "between sources"}
    assert rows(entry, "model")["source elm"]["value"] > 0.9
    assert entry["weights"] is None


@pytest.mark.parametrize("line", [["--weights", "w"], ["--predictions", "scores.csv"]])
def test_an_audit_without_images_asks_for_them(folder, line, capsys):
    assert run(["audit", *line]) == 2
    assert "on which images? Give --manifest FILE or --dataset NAME" in capsys.readouterr().err


def test_a_table_without_patients_is_not_judged(folder):
    pd.read_csv("new/labels.csv").drop(columns="patient_id").to_csv("new/labels.csv", index=False)
    assert run(["audit", "--weights", "w", *MANIFEST]) == 0
    assert audited(folder)["data"]["verdict"] == "cannot tell"
    assert "no patient ids" in audited(folder)["data"]["reason"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--predictions", "scores.csv"], "give --positive"),
        (["--predictions", "scores.csv", "--positive", "flu"], "expected one of: covid, other"),
        (["--weights", "w", "--positive", "flu"], "expected one of: covid, other"),
        (["--predictions", "few.csv", "--positive", "covid"], "there is no row for image 1.png"),
        (["--predictions", "bad.csv", "--positive", "covid"], "row 3: score 'high'"),
        (["--weights", "w", "--annotations", "bare.csv"], "expected columns left, top, right, bottom, or sex"),
        (["--weights", "w", "--annotations", "lost.csv"], "names none of the images"),
    ],
)
def test_bad_input_is_one_line(folder, line, message, capsys):
    (folder / "few.csv").write_text("image,score\n0.png,0.2\n")
    (folder / "bad.csv").write_text("image,score\n0.png,0.2\n1.png,high\n")
    (folder / "bare.csv").write_text("image,left\n0.png,3\n")
    (folder / "lost.csv").write_text("image,sex\nx.png,F\n")
    assert run(["audit", *line, *MANIFEST]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
