"""``import medtransfer as mt``: five functions that say what the command line says, imported when used."""

import inspect
import json
import socket
import subprocess
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import medtransfer as mt
from dicom_fixtures import write
from medtransfer import api
from medtransfer.cli import run
from medtransfer.data import add, given, images
from medtransfer.data.given import normalised, pack_file, packed_batches
from medtransfer.errors import DataError, ModelError, TrackingError
from medtransfer.evaluation.shift import fit_shift, write_shift
from medtransfer.explain.gradcam import grad_cam
from medtransfer.models.classifier import Classifier, NetworkConfig, build_network
from medtransfer.models.weights import save_weights
from medtransfer.stages import answer, audit, evaluate, serving
from medtransfer.tracking.gates import SHIFT
from medtransfer.training.seen import look
from network_heads import LABEL_AND_ZONES, PREPROCESSING, class_heads

NETWORK = NetworkConfig(backbone="test_resnet")
IMAGES, ADDRESS = 84, "models:/toy@champion"


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A network of two classes under its address, and a table of images: ``mine/labels.csv``."""
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    draw = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(draw.integers(0, 256, (44, 36), dtype=np.uint8)).save(f"mine/{number:02}.png")
    rows = [(f"{n:02}.png", f"p{n // 2}", ("non-covid", "covid")[n // 2 % 2]) for n in range(IMAGES)]
    pd.DataFrame(rows, columns=["image", "patient_id", "label"]).to_csv("mine/labels.csv", index=False)
    save(tmp_path / "w", class_heads(("non-covid", "covid")), positive="covid")
    for place in (api, evaluate, audit):
        monkeypatch.setattr(place, "fetch_model", lambda model: tmp_path / "w")
    monkeypatch.setattr(audit, "note_audit", lambda *given: None)
    monkeypatch.setattr(answer, "version_of", lambda address: {ADDRESS: 1}[address])
    monkeypatch.setattr(answer, "load_version", lambda address, version: serving.Loaded(1, mt.load_model(address)))
    return tmp_path / "w"


def save(folder, heads, *, positive=""):
    fit = {"study": "toy", "variant": "test_resnet", "condition": "none", "seed": "3"}
    extra = {"dataset": "old", "positive": positive, "fit": fit}
    network = build_network(NETWORK, sum(len(head.outputs) for head in heads.values()), seed=0)
    save_weights(network, folder, config=NETWORK, heads=heads, preprocessing=PREPROCESSING, extra=extra)


def test_prediction_and_evaluation_are_those_of_the_command_line(weights):
    assert run(["evaluate", "--model", ADDRESS, "--manifest", "mine/labels.csv"]) == 0
    answers, metrics = (
        pd.read_csv("out/evaluate/predictions.csv"),
        json.loads(Path("out/evaluate/metrics.json").read_text()),
    )
    model, files = mt.load_model(ADDRESS), sorted(Path("mine").glob("*.png"))
    table = mt.predict(model, files)
    assert list(table["label"]) == list(answers["label"])
    np.testing.assert_allclose(table["probability_covid"], answers["probability_covid"], atol=1e-6)
    arrays = np.stack([np.asarray(Image.open(file))[None] for file in files])
    for same in ([str(file) for file in files], [file.read_bytes() for file in files], arrays):
        pd.testing.assert_frame_equal(mt.predict(model, same), table)
    assert len(mt.predict(model, "mine/00.png")) == 1
    before = set(Path().rglob("*"))
    found = mt.evaluate(model, manifest="mine/labels.csv")
    assert vars(found.metrics["covid"]["auroc"]) == pytest.approx(metrics["metrics"]["auroc"], nan_ok=True)
    assert found.metrics["covid"]["auroc"].low < found.metrics["covid"]["auroc"].high
    assert found.facts["patients"] == IMAGES // 2
    assert len(mt.evaluate(model, images="mine").answers) == IMAGES
    assert set(Path().rglob("*")) == before


def test_the_audit_is_that_of_the_command_line(weights):
    assert run(["audit", "--model", ADDRESS, "--manifest", "mine/labels.csv"]) == 0
    (written,) = json.loads(Path("out/audits.json").read_text())["audits"]
    found = mt.audit_model(mt.load_model(ADDRESS), "mine/labels.csv")
    assert json.loads(json.dumps(found)) == written


def test_heat_is_that_of_the_explainer(weights):
    model = mt.load_model(ADDRESS)
    heat = mt.explain_images(model, ["mine/00.png", "mine/01.png"])
    (packed,) = packed_batches([Path("mine/00.png"), Path("mine/01.png")], model.description["preprocessing"])
    inputs = normalised(packed, model.description["preprocessing"])
    np.testing.assert_array_equal(heat, grad_cam(model.network, inputs, 1).numpy())
    assert heat.shape == (2, 32, 32)
    with pytest.raises(ModelError, match="no output 'cat', expected one of non-covid, covid"):
        mt.explain_images(model, "mine/00.png", output="cat")
    with pytest.raises(ModelError, match="those that fit are grad_cam"):
        mt.explain_images(model, "mine/00.png", explainer="relevance")
    with pytest.raises(ModelError, match="severity_map: the network grades no lung zones"):
        mt.explain_images(model, "mine/00.png", explainer="severity_map")


def test_a_folder_of_weights_with_two_heads_works(weights, tmp_path):
    save(tmp_path / "two", LABEL_AND_ZONES)
    model = mt.load_model(tmp_path / "two")
    assert [name for name in mt.predict(model, "mine/00.png") if name.startswith("severity")]
    assert mt.explain_images(model, "mine/00.png", output="zone_3").shape == (1, 32, 32)


def test_what_cannot_be_done_says_why(weights, monkeypatch):
    model = mt.load_model(ADDRESS)
    with pytest.raises(DataError, match="no such image"):
        mt.predict(model, "mine/absent.png")
    with pytest.raises(DataError, match="no image; send one or more"):
        mt.predict(model, [])
    with pytest.raises(TypeError, match="either images or manifest"):
        mt.evaluate(model)
    monkeypatch.undo()
    with pytest.raises(TrackingError):
        mt.load_model("models:/../x@champion")


def test_five_functions_are_documented_and_nothing_else_is_public():
    assert mt.__all__ == sorted(mt.__all__)
    assert len(mt.__all__) == 5
    for name in mt.__all__:
        text = inspect.getdoc(getattr(mt, name))
        assert all(f"{argument}: " in text or argument in ("model", "images") for argument in _arguments(name)), name
        assert "Raises:" in text
    with pytest.raises(AttributeError, match="no attribute 'predictions'"):
        _ = mt.predictions


def _arguments(name):
    return inspect.signature(getattr(mt, name)).parameters


def test_the_import_imports_nothing_of_weight():
    heavy = (
        "import sys, medtransfer; print(sorted({'numpy', 'pandas', 'torch', 'mlflow', 'pydicom'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_server_s_answer_is_the_prediction_with_flags_and_a_map(weights):
    model = mt.load_model(ADDRESS)
    loaded = serving.Loaded(1, model)
    data = Path("mine/00.png").read_bytes()
    reply = json.loads(json.dumps(serving.answer(loaded, data, True)))
    (expected,) = mt.predict(model, "mine/00.png").to_dict("records")
    assert reply["answer"] == pytest.approx(expected)
    assert reply["flags"] == []
    assert reply["explained"] == "covid"
    map_ = Image.open(BytesIO(b64decode(reply["map"].removeprefix("data:image/png;base64,"))))
    assert map_.size == (256, 256)  # of a view of 32 pixels
    assert reply["unlike_training"] == "not available"
    assert reply["words"]["covid"].startswith("how often such a score is right is not known")
    assert "map" not in serving.answer(loaded, data, False)
    seen = pd.DataFrame({"output": ["covid"], "kind": "probability", "score": 0.5, "target": 1.0})
    assert list(serving.answer(serving.Loaded(1, model, seen), data, False)["words"]) == ["covid"]
    with pytest.raises(DataError, match="not an image"):
        serving.answer(loaded, b"text", False)


def test_unlike_images_are_flagged(weights):
    loaded = serving.Loaded(1, mt.load_model(ADDRESS))

    def flags(array):
        buffer = BytesIO()
        Image.fromarray(array).save(buffer, format="PNG")
        return serving.answer(loaded, buffer.getvalue(), False)["flags"]

    draw = np.random.default_rng(1)
    assert "in colour" in flags(draw.integers(0, 256, (40, 40, 3), dtype=np.uint8))[0]
    assert "fewer than the 32" in flags(draw.integers(0, 256, (20, 30), dtype=np.uint8))[0]
    assert "a strip" in flags(draw.integers(0, 256, (40, 400), dtype=np.uint8))[0]
    assert "one grey level" in flags(np.full((40, 40), 9, np.uint8))[0]


@pytest.fixture
def with_shift(weights):
    """The same network with the statistics of noise images of 36 × 44 pixels, 48 of them for the limits."""
    model = mt.load_model(weights)
    prepared, files = model.description["preprocessing"], sorted(Path("mine").glob("*.png"))
    packed = np.stack([pack_file(file, prepared) for file in files])
    seen = [look(model.network, prepared, packed[at], files[at]) for at in (slice(36), slice(36, None))]
    write_shift(fit_shift(seen[0], np.zeros(36, np.int64), seen[1]), weights / SHIFT)
    return weights


def test_evaluate_passes_each_image_through_the_network_once(with_shift, monkeypatch):
    passed, whole = [], Classifier.feature_map
    monkeypatch.setattr(Classifier, "feature_map", lambda self, x: passed.append(len(x)) or whole(self, x))
    found = mt.evaluate(mt.load_model(with_shift), images="mine")
    assert sum(passed) == found.facts["images"]
    assert "unlike_training" in found.facts


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files whose pixels are decoded, in the order in which that happens."""
    names, whole = [], images.decode

    def counted(source, *, raw=False):
        names.append("bytes" if isinstance(source, bytes) else source.name)
        return whole(source, raw=raw)

    for module in (add, given, images, serving):
        monkeypatch.setattr(module, "decode", counted)
    return names


def test_each_file_is_decoded_once_and_passes_once_whatever_is_asked_of_it(with_shift, decoded, monkeypatch):
    passed, whole = [], Classifier.feature_map
    monkeypatch.setattr(Classifier, "feature_map", lambda self, x: passed.append(len(x)) or whole(self, x))
    model, files = mt.load_model(with_shift), sorted(Path("mine").glob("*.png"))
    mt.evaluate(model, images="mine")
    assert sorted(decoded) == [file.name for file in files]
    decoded.clear()
    passed.clear()
    table = mt.predict(model, files, shift=True)
    assert sorted(decoded) == [file.name for file in files]
    assert sum(passed) == len(files) == len(table)
    decoded.clear()
    serving.answer(serving.Loaded(1, model), files[0].read_bytes(), wants_map=True)
    assert decoded == ["bytes"]


def test_evaluation_in_bf16_says_so_and_decides_alike(weights):
    model = mt.load_model(weights)
    exact, fast = (mt.evaluate(model, images="mine", precision=precision) for precision in ("fp32", "bf16"))
    assert fast.facts == exact.facts | {"precision": "bf16"}
    apart = (exact.predictions["score"] - fast.predictions["score"]).abs()
    assert 0 < apart.max() < 0.02
    clear = (exact.predictions["score"] - 0.5).abs() > 0.02
    assert clear.any()
    assert ((exact.predictions["score"] > 0.5) == (fast.predictions["score"] > 0.5))[clear].all()


def test_images_unlike_those_of_training_are_flagged_everywhere(with_shift):
    model = mt.load_model(with_shift)
    colour = np.zeros((40, 40, 3), np.uint8)
    colour[..., 0] = 200
    Path("other").mkdir()
    Image.fromarray(colour).save("other/red.png")
    Image.fromarray(np.full((300, 300), 9, np.uint8)).save("other/blank.png")
    Path("other/noise.png").write_bytes(Path("mine/00.png").read_bytes())
    found = mt.predict(model, ["other/red.png", "other/blank.png", "other/noise.png"], shift=True)["unlike_training"]
    assert "in colour" in found[0]
    assert "shorter side in pixels 300" in found[1]
    assert found[2] == ""
    assert "features" in mt.predict(model, np.full((1, 1, 40, 40), 9, np.uint8), shift=True)["unlike_training"][0]
    assert run(["evaluate", "--model", ADDRESS, "--images", "other"]) == 0
    facts = json.loads(Path("out/evaluate/metrics.json").read_text())
    assert (facts["unlike_training"], facts["unlike_training_share"]) == (2, 0.667)
    assert any("2 of 3 images (67%) are unlike the training images" in warning for warning in facts["warnings"])
    assert "- unlike training: 2" in Path("out/evaluate/report.md").read_text()
    table = pd.read_csv("out/evaluate/predictions.csv", keep_default_na=False).set_index("file")["unlike_training"]
    assert table["noise.png"] == ""
    assert "in colour" in table["red.png"]
    reply = serving.answer(serving.Loaded(1, model), Path("other/red.png").read_bytes(), False)
    assert "in colour" in reply["unlike_training"]


def test_without_statistics_it_is_said_to_be_not_available(weights):
    table = mt.predict(mt.load_model(ADDRESS), "mine/00.png", shift=True)
    assert list(table["unlike_training"]) == ["not available"]
    found = mt.evaluate(mt.load_model(ADDRESS), images="mine")
    assert found.facts["unlike_training"] == "not available"
    assert any("is not available" in warning for warning in found.warnings)
    assert set(found.answers["unlike_training"]) == {"not available"}


def test_a_taken_port_is_one_line(weights, monkeypatch, capsys):
    monkeypatch.setattr(serving, "version_of", lambda name: 1)
    monkeypatch.setattr(serving, "load_version", lambda name, version: serving.Loaded(1, mt.load_model(weights)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["serve", "toy@champion", "--port", str(taken.getsockname()[1])]) == 2
    assert "give another --port" in capsys.readouterr().err


def test_predict_answers_images_with_the_server_s_answer_and_writes_the_map(weights, capsys):
    loaded = serving.Loaded(1, mt.load_model(weights))
    assert run(["predict", "mine/00.png", "mine/01.png", "--model", "toy@champion", "--out", "maps"]) == 0
    said = capsys.readouterr().err
    row = mt.predict(mt.load_model(ADDRESS), "mine/01.png").iloc[0]
    assert f"mine/01.png: label {row['label']} · probability_non-covid {row['probability_non-covid']:.3f}" in said
    assert "where the evidence for covid is: maps/01-map.png" in said
    assert "covid: how often such a score is right is not known: the model has no validation predictions" in said
    assert "unlike the training images: not available" in said
    reply = serving.answer(loaded, Path("mine/01.png").read_bytes(), True)
    assert Path("maps/01-map.png").read_bytes() == b64decode(reply["map"].partition(",")[2])
    assert Image.open("maps/01-map.png").size == (256, 256)  # of a view of 32 pixels
    assert run(["predict", "mine/00.png", "--model", str(weights)]) == 0
    assert Path("out/predict/00-map.png").exists()


def test_predict_answers_a_frame_that_is_named_and_refuses_several(weights, capsys):
    frames = np.stack([np.full((40, 40), 500, np.uint16) + np.arange(40, dtype=np.uint16) * 3 * n for n in range(3)])
    write(Path("scan.dcm"), frames, Modality="DX", WindowCenter=550, WindowWidth=400)
    assert run(["predict", "scan.dcm#2", "--model", "toy@champion", "--out", "maps"]) == 0
    assert "scan.dcm#2: label" in capsys.readouterr().err
    assert Path("maps/scan-2-map.png").exists()
    row, other = (mt.predict(mt.load_model(ADDRESS), f"scan.dcm#{n}").iloc[0] for n in (2, 3))
    assert row["probability_covid"] != other["probability_covid"]
    assert run(["predict", "scan.dcm", "--model", "toy@champion"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "scan.dcm: DICOM of 3 frames, expected one image; give the file to medtransfer evaluate" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mine/00.png"], "'mine/00.png': expected a study (attentive_transfer"),
        (["attentive_transfer", "mine/00.png"], "'mine/00.png': expected a study"),
        (["absent.png", "--model", "toy@champion"], "absent.png: no such image"),
        (["attentive_transfer", "--out", "maps"], "--out is the folder of maps and needs images and --model"),
        (["mine", "--model", "toy@champion"], "mine: a folder, expected image files"),
        (["mine/labels.csv", "--model", "toy@champion"], "mine/labels.csv: not an image"),
        (["mine/00.png", "mine/./00.png", "--model", "toy@champion"], "predict them one by one"),
    ],
)
def test_what_predict_cannot_answer_is_one_line(words, said, weights, capsys):
    assert run(["predict", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
