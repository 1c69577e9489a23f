"""The verb evaluate obeys the heads of the model: which rows, targets and metrics there are."""

import fcntl
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dicom_fixtures import write
from medtransfer.cli import run
from medtransfer.data.add import scan_to_manifest
from medtransfer.data.sources import ImageFolderSource, Scan
from medtransfer.evaluation.predictions import read_predictions
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.weights import load_model, save_weights
from medtransfer.reporting.evaluation import unlike_in_words
from medtransfer.stages import evaluate
from medtransfer.tracking.serving import prepare
from medtransfer.training.frozen import binary_heads
from network_heads import FINDINGS, LABEL_AND_ZONES, PREPROCESSING, class_heads

NETWORK = NetworkConfig(backbone="test_resnet")
IMAGES = 12


@pytest.fixture
def evaluated(tmp_path, monkeypatch):
    """Evaluate a network with these heads on images of noise; return its predictions, metrics, report, raw outputs."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    (tmp_path / "new").mkdir()
    for number in range(IMAGES):
        Image.fromarray(draw.integers(0, 256, (40, 40), dtype=np.uint8)).save(f"new/{number}.png")

    def evaluated(heads, columns, *, positive=""):
        model = build_network(NETWORK, sum(len(head.outputs) for head in heads.values()), seed=0)
        extra = {"dataset": "old", "positive": positive}
        extra["fit"] = {"study": "toy", "variant": "test_resnet", "condition": "none", "seed": "3"}
        save_weights(model, tmp_path / "w", config=NETWORK, heads=heads, preprocessing=PREPROCESSING, extra=extra)
        monkeypatch.setattr(evaluate, "fetch_model", lambda model: tmp_path / "w")
        table = pd.DataFrame({"image": [f"{number}.png" for number in range(IMAGES)]} | columns)
        table.to_csv("new/labels.csv", index=False)
        code = run(["evaluate", "--model", "models:/toy@champion", "--manifest", "new/labels.csv"])
        return (
            (read_predictions(tmp_path / "out/evaluate/predictions.parquet"), *results(tmp_path)) if code == 0 else None
        )

    return evaluated


def results(folder):
    network, _ = load_model(folder / "w")
    images = np.stack([np.asarray(Image.open(f"new/{number}.png"))[None] for number in range(IMAGES)])
    with torch.inference_mode():
        raw = network(prepare(images, PREPROCESSING)).numpy()
    out = folder / "out" / "evaluate"
    return json.loads((out / "metrics.json").read_text()), (out / "report.md").read_text(), raw


def column(table, output, name):
    """One output's scores or targets, by number of the image."""
    rows = table[table["output"] == output]
    order = rows["image_id"].str.extract(r"(\d+)\.png")[0].astype(int)
    return rows[name].to_numpy()[np.argsort(order)]


def test_findings_of_a_table_are_scored_one_by_one_with_independent_probabilities(evaluated):
    known = [number % 2 if number < 10 else "" for number in range(IMAGES)]
    table, metrics, report, raw = evaluated(FINDINGS, {"y_edema": known, "label": ["whatever"] * IMAGES})
    assert set(table["kind"]) == {"probability"}
    np.testing.assert_allclose(column(table, "mass", "score"), 1 / (1 + np.exp(-raw[:, 1])), rtol=1e-5)
    assert np.isnan(column(table, "mass", "target")).all()
    np.testing.assert_array_equal(column(table, "edema", "target"), [*([0, 1] * 5), np.nan, np.nan])
    assert list(metrics["by_output"]) == ["edema"]
    assert 0 <= metrics["by_output"]["edema"]["auroc"]["value"] <= 1
    assert "positive_class" not in metrics
    assert "## edema" in report
    assert "Not known on these images, so not measured: mass." in report


def test_a_network_of_two_heads_is_scored_by_both(evaluated):
    columns = {
        "label": ["normal", "pneumonia", "covid"] * 4,
        "zone_0": [number % 4 for number in range(IMAGES)],
    }
    table, metrics, report, raw = evaluated(LABEL_AND_ZONES, columns, positive="covid")
    kinds = table.groupby("output")["kind"].first().to_dict()
    assert kinds == dict.fromkeys(("normal", "pneumonia", "covid"), "probability") | {
        f"zone_{number}": "severity" for number in range(6)
    }
    np.testing.assert_allclose(column(table, "zone_4", "score"), raw[:, 7], rtol=1e-5)
    np.testing.assert_allclose(
        sum(column(table, name, "score") for name in ("normal", "pneumonia", "covid")), np.ones(IMAGES), rtol=1e-6
    )
    assert list(metrics["by_output"]) == ["label: all classes", "covid", "zone_0"]
    assert {"macro_auroc", "top_1"} <= set(metrics["by_output"]["label: all classes"])
    assert set(metrics["by_output"]["zone_0"]) == {"mse", "mae", "pearson", "r2"}
    assert "not measured: zone_1, zone_2, zone_3, zone_4, zone_5." in report


def test_two_classes_are_one_question(evaluated, capsys):
    labels = ["non-covid", "covid"] * 6
    heads = class_heads(("non-covid", "covid"))
    table, metrics, report, _ = evaluated(heads, {"label": labels}, positive="covid")
    assert len(table) == 2 * IMAGES
    assert metrics["positive_class"] == "covid"
    assert {"auroc", "auprc", "brier"} <= set(metrics["metrics"])
    assert "by_output" not in metrics
    assert "##" not in report
    assert capsys.readouterr().err.count("AUROC 0.") == 1


@pytest.mark.parametrize("known", [True, False])
def test_images_without_patient_ids_have_no_interval_and_the_user_is_told(evaluated, capsys, known):
    patients = {"patient_id": [f"p{number}" for number in range(IMAGES)]} if known else {}
    columns = {"label": ["non-covid", "covid"] * 6} | patients
    table, metrics, report, _ = evaluated(class_heads(("non-covid", "covid")), columns, positive="covid")
    said = capsys.readouterr().err
    assert "nan" not in said + report
    assert (table["patient_id"] == "").all() == (not known)
    assert metrics["patients"] == (IMAGES if known else None)
    assert ("no patient ids: metrics have no interval; give --manifest with a column patient_id" in said) == (not known)
    assert ("- patients: not known" in report) == (not known)
    reasons = {metric["reason"].partition(":")[0] for metric in metrics["metrics"].values()}
    assert reasons == ({"too few patients"} if known else {"no patient ids"})


def test_images_of_12_bits_in_files_of_16_are_windowed_as_the_model_was_trained(evaluated, capsys, monkeypatch):
    draw = np.random.default_rng(1)
    deep = [draw.integers(1500, 2600, (40, 40)).astype(np.uint16) for _ in range(IMAGES)]
    for number, image in enumerate(deep):
        Image.fromarray(image).save(f"new/{number}.png")
    labels = {"label": ["non-covid", "covid"] * 6}
    heads = class_heads(("non-covid", "covid"))
    assert evaluated(heads, labels, positive="covid") is None
    assert "set pack.window: " in capsys.readouterr().err
    centre, width = 2048, 1024
    monkeypatch.setitem(PREPROCESSING, "window", [centre, width])
    table, *_ = evaluated(heads, labels, positive="covid")
    network, _ = load_model(Path("w"))
    low = centre - width / 2
    shown = np.stack([np.rint((image - low).clip(0, width) / width * 255) for image in deep])[:, None].astype(np.uint8)
    with torch.inference_mode():
        expected = torch.softmax(network(prepare(shown, PREPROCESSING)), 1)[:, 1].numpy()
    np.testing.assert_allclose(column(table, "covid", "score"), expected, atol=1e-3)


def test_a_label_that_is_no_class_is_refused(evaluated, capsys):
    assert evaluated(class_heads(("non-covid", "covid")), {"label": ["covid", "other"] * 6}, positive="covid") is None
    assert "label 'other' is not a class of the model (non-covid, covid)" in capsys.readouterr().err


AGAINST_REST = [1, 0, 0] * 4


@pytest.mark.parametrize(
    "columns",
    [
        {"label": ["covid", "pneumonia", "normal"] * 4},
        {"y_covid": AGAINST_REST},
        {"label": [*["covid", "pneumonia", "normal"] * 3, "", "", ""], "y_covid": [*[""] * 9, 1, 0, 0]},
    ],
)
def test_one_class_against_all_others_is_scored_by_labels_or_by_its_column(evaluated, columns):
    table, metrics, report, raw = evaluated(binary_heads("covid"), columns, positive="covid")
    np.testing.assert_array_equal(column(table, "covid", "target"), AGAINST_REST)
    np.testing.assert_allclose(column(table, "covid", "score"), 1 / (1 + np.exp(-raw[:, 0])), rtol=1e-5)
    pairs = [(a > b) + 0.5 * (a == b) for a in raw[::3, 0] for b in np.delete(raw[:, 0], np.s_[::3])]
    assert metrics["metrics"]["auroc"]["value"] == pytest.approx(np.mean(pairs))
    assert metrics["warnings"] == [unlike_in_words(None), evaluate.UNKNOWN_PATIENTS]
    assert "Not known" not in report


def test_labels_without_the_class_that_the_model_knows_are_no_negatives(evaluated, capsys):
    table, metrics, *_ = evaluated(binary_heads("covid"), {"label": ["COVID", "normal"] * 6}, positive="covid")
    assert np.isnan(column(table, "covid", "target")).all()
    assert metrics["metrics"] == {}
    assert "no image has the label 'covid' that the model tells from all others (labels: COVID, normal)" in (
        capsys.readouterr().err
    )


def test_the_column_of_a_class_with_capitals_is_found(evaluated):
    table, *_ = evaluated(binary_heads("COVID-19"), {"y_COVID-19": AGAINST_REST}, positive="COVID-19")
    np.testing.assert_array_equal(column(table, "COVID-19", "target"), AGAINST_REST)


def test_a_label_and_a_column_that_contradict_each_other_are_refused(evaluated, capsys):
    columns = {"label": ["covid", "normal"] * 6, "y_covid": [1] * IMAGES}
    assert evaluated(binary_heads("covid"), columns, positive="covid") is None
    assert "label 'normal' and y_covid 1 contradict each other" in capsys.readouterr().err


def test_without_labels_there_are_predictions_alone(evaluated):
    table, metrics, report, _ = evaluated(FINDINGS, {})
    assert len(table) == 2 * IMAGES
    assert metrics["by_output"] == {}
    assert "predictions only, no metrics" in report


def test_an_earlier_evaluation_of_any_network_is_replaced(evaluated):
    for heads in (FINDINGS, LABEL_AND_ZONES, FINDINGS):
        table, *_ = evaluated(heads, {})
        assert set(table["output"]) == {name for head in heads.values() for name in head.outputs}


def test_a_head_that_was_never_trained_is_not_evaluated(evaluated, capsys):
    heads = {name: head.model_copy(update={"trained": False}) for name, head in FINDINGS.items()}
    assert evaluated(heads, {}) is None
    assert "head 'findings' was never trained" in capsys.readouterr().err


@pytest.fixture
def folder_evaluated(tmp_path, monkeypatch, capsys):
    """Evaluate a network, of two classes unless told, on a folder or file; return exit code, answers, metrics, report
    and output."""
    monkeypatch.chdir(tmp_path)
    extra = {"dataset": "old", "positive": "covid"}
    extra["fit"] = {"study": "toy", "variant": "test_resnet", "condition": "none", "seed": "3"}
    monkeypatch.setattr(evaluate, "fetch_model", lambda model: tmp_path / "w")

    def evaluated(place, *more, heads=class_heads(("non-covid", "covid"))):
        model = build_network(NETWORK, len(heads["label"].outputs), seed=0)
        save_weights(model, tmp_path / "w", config=NETWORK, heads=heads, preprocessing=PREPROCESSING, extra=extra)
        code = run(["evaluate", "--model", "models:/toy@champion", "--images", place, *more])
        said, out = capsys.readouterr().err, tmp_path / "out/evaluate"
        if code:
            return code, None, None, None, said
        metrics = json.loads((out / "metrics.json").read_text())
        return code, pd.read_csv(out / "predictions.csv"), metrics, (out / "report.md").read_text(), said

    return evaluated


def draw(*places):
    rng = np.random.default_rng(len(places))
    for place in places:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(place)


def test_folders_that_are_no_classes_are_patients_and_what_is_not_read_is_named(folder_evaluated):
    draw("in/pat01/1.png", "in/pat01/2.png", "in/pat02/1.png", "in/.ipynb_checkpoints/1.png", "in/__MACOSX/x.png")
    Path("in/pat02/scan").write_bytes(b"\0" * 128 + b"DICM")
    code, answers, metrics, report, said = folder_evaluated("in")
    assert code == 0
    assert (metrics["patients"], metrics["images"], metrics["metrics"]) == (2, 3, {})
    assert sorted(answers["file"]) == ["pat01/1.png", "pat01/2.png", "pat02/1.png"]
    assert set(answers["label"]) <= {"non-covid", "covid"}
    np.testing.assert_allclose(answers["probability_covid"] + answers["probability_non-covid"], 1, atol=1e-6)
    left_out = {each["file"]: each["reason"] for each in metrics["left_out_files"]}
    assert left_out["pat02/scan"] == "DICOM without an image; leave it out"
    assert len(left_out) == 3
    for text in (report, said):
        assert "pat02/scan" in text
    assert "pat01/1.png" in said


def test_class_folders_answer_one_class_against_all_others(folder_evaluated):
    draw(*(f"in/{name}/{n}.png" for n in range(4) for name in ("covid", "pneumonia", "normal")))
    heads = binary_heads("covid")
    _, answers, metrics, *_ = folder_evaluated("in", heads=heads)
    assert set(answers) == {"file", "probability_covid", "known_label", "unlike_training"}
    assert 0 <= metrics["metrics"]["auroc"]["value"] <= 1
    table = read_predictions(Path("out/evaluate/predictions.parquet"))
    assert table["target"].tolist() == [float("/covid/" in name) for name in table["image_id"]]
    Path("in/covid").rename("in/ill")
    assert folder_evaluated("in", "--rename", "ill=covid", heads=heads)[2]["metrics"] == metrics["metrics"]
    assert folder_evaluated("in", heads=heads)[2]["metrics"] == {}
    assert folder_evaluated("in/ill/0.png", heads=heads)[2]["metrics"] == {}


def test_a_flat_folder_with_a_hidden_one_and_one_file_are_read(folder_evaluated):
    draw("in/1.png", "in/.ipynb_checkpoints/1.png", "in/deep/2.png")
    assert folder_evaluated("in")[2]["images"] == 2
    code, answers, *_ = folder_evaluated("in/1.png")
    assert (code, list(answers["file"])) == (0, ["1.png"])


def test_damaged_dicom_alone_is_named(folder_evaluated):
    Path("in").mkdir()
    Path("in/a.dcm").write_bytes(b"\0" * 128 + b"DICM")
    code, *_, said = folder_evaluated("in")
    assert code == 2
    assert "none of 1 images can be read; first: DICOM without an image; leave it out" in said


def test_a_file_of_several_frames_is_answered_frame_by_frame(folder_evaluated):
    frames = np.random.default_rng(0).integers(0, 4096, (3, 40, 40)).astype(np.uint16)
    Path("in/covid").mkdir(parents=True)
    write(Path("in/covid/scan.dcm"), frames, WindowCenter=2000, WindowWidth=4000, ViewPosition="AP")
    draw("in/non-covid/1.png")
    code, answers, metrics, _, said = folder_evaluated("in")
    names = [f"covid/scan.dcm#{number}" for number in (1, 2, 3)]
    assert (code, sorted(answers["file"])) == (0, [*names, "non-covid/1.png"])
    assert "DICOM: grey levels by the files' own windows (images): 2000/4000 LINEAR (3)" in said
    assert any("2000/4000 LINEAR (3)" in warning for warning in metrics["warnings"])
    table = read_predictions(Path("out/evaluate/predictions.parquet")).set_index("image_id")
    assert set(table.loc[[f"in/{name}" for name in names], "view"]) == {"AP"}
    _, one, metrics, *_ = folder_evaluated("in/covid/scan.dcm")
    assert list(one["file"]) == ["scan.dcm#1", "scan.dcm#2", "scan.dcm#3"]
    assert metrics["patients"] == 1


def test_labels_that_are_exchanged_are_noticed(folder_evaluated):
    draw(*(f"in/{n}.png" for n in range(40)))
    answers = folder_evaluated("in")[1].sort_values("probability_covid")
    for number, file in enumerate(answers["file"]):  # the likeliest images become the negatives
        target = Path("in") / ("covid" if number < 20 else "non-covid")
        target.mkdir(exist_ok=True)
        (Path("in") / file).rename(target / file)
    _, answers, metrics, report, said = folder_evaluated("in")
    assert metrics["metrics"]["auroc"]["value"] == 0
    for text in (said, report, *metrics["warnings"][:1]):
        assert "further below 0.5 than chance explains" in text
    assert set(answers["known_label"]) == {"covid", "non-covid"}


def test_copies_of_training_images_are_noticed(folder_evaluated):
    draw("in/1.png", "in/2.png")
    manifest, _ = scan_to_manifest(ImageFolderSource(root=Path("in")), "old", scan=flat("1.png"))
    Path("out/datasets/old").mkdir(parents=True)
    manifest.assign(split="train").to_parquet("out/datasets/old/manifest.parquet")
    assert "1 images are probably copies of images that the model was trained on: 1.png" in folder_evaluated("in")[-1]


def flat(*names):
    return Scan([{"image_id": name, "patient_id": name, "path": name} for name in names], [], ())


def test_a_second_evaluation_at_the_same_time_overwrites_nothing(folder_evaluated):
    draw("in/1.png")
    Path("out/evaluate").mkdir(parents=True)
    handle = os.open("out/evaluate", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    code, *_, said = folder_evaluated("in")
    os.close(handle)
    assert code == 2
    assert "another evaluation is writing here" in said


def test_a_rename_of_no_folder_is_refused_and_a_name_is_no_markup(folder_evaluated):
    draw("<script>x/covid/1.png")
    code, *_, said = folder_evaluated("<script>x", "--rename", "ill=covid")
    assert code == 2
    assert "there is no class folder 'ill'; there are covid" in said
    assert "<script>" not in folder_evaluated("<script>x")[3]


def test_one_class_or_hardly_a_patient_gives_no_number_that_looks_sure(folder_evaluated, recwarn):
    draw("in/covid/1.png", "in/covid/2.png")
    *_, said = folder_evaluated("in")
    assert "AUROC not defined" in said
    assert "nan" not in said
    assert [f"{w.filename}:{w.lineno} {w.message}" for w in recwarn if issubclass(w.category, RuntimeWarning)] == []


def test_outside_of_a_project_no_store_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    draw("in/1.png")
    assert run(["evaluate", "--model", "models:/covid-ct@champion", "--images", "in"]) == 2
    assert "there is no such store; run this in the folder of a project" in capsys.readouterr().err
    assert not list(tmp_path.glob("mlflow.db*"))
