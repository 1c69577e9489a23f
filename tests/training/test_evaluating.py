"""Which targets and metrics each head has on images that a network has never seen."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import pearsonr
from sklearn.metrics import roc_auc_score

from medtransfer.data.add import scan_to_manifest
from medtransfer.data.manifest import ZONES, build_manifest
from medtransfer.data.packed import PackConfig
from medtransfer.data.sources import CsvSource
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.heads import Head
from medtransfer.models.multitask import MultitaskConfig
from medtransfer.models.tokens import TransformerConfig
from medtransfer.models.weights import load_model, save_weights
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.evaluating import asked_questions, pack_like_training, predict_network, score_questions
from medtransfer.training.inference import head_targets
from network_heads import FINDINGS, LABEL_AND_ZONES, class_heads

LABELS = ("covid", "normal", "", "pneumonia")
FIT = {"study": "s", "variant": "v", "condition": "c", "seed": 0}


@pytest.fixture
def manifest():
    """Four images; of the last neither edema nor zone 2 is known, and no table column is called mass."""
    rows = [
        {
            "image_id": f"new/{number}",
            "patient_id": f"new:{number}",
            "dataset": "new",
            "path": f"{number}.png",
            "split": "test",
            "label": label,
            "y_edema": np.nan if number == 3 else number % 2,
            "zone_2": np.nan if number == 3 else number / 2,
        }
        for number, label in enumerate(LABELS)
    ]
    return build_manifest(rows)


def test_exclusive_classes_are_one_hot_where_the_label_is_known(manifest):
    found = head_targets(manifest, LABEL_AND_ZONES["label"])
    nothing = [np.nan] * 3
    np.testing.assert_array_equal(found, [[0, 0, 1], [1, 0, 0], nothing, [0, 1, 0]])


def test_findings_and_zones_have_the_columns_of_their_names(manifest):
    np.testing.assert_array_equal(
        head_targets(manifest, FINDINGS["findings"]), [[0, np.nan], [1, np.nan], [0, np.nan], [np.nan, np.nan]]
    )
    zones = head_targets(manifest, LABEL_AND_ZONES["zones"])
    np.testing.assert_array_equal(zones[:, 2], [0, 0.5, 1, np.nan])
    assert np.isnan(np.delete(zones, 2, axis=1)).all()


@pytest.mark.parametrize("changes", [{"kind": "value"}, {"outputs": ("left",)}, {"outputs": ("edema",)}])
def test_a_severity_of_another_kind_or_name_has_no_target(manifest, changes):
    head = Head(**{"outputs": ("zone_2",), "activation": "identity", "kind": "severity"} | changes)
    assert np.isnan(head_targets(manifest, head)).all()


def test_severities_from_0_to_1_ask_whether_a_zone_is_affected(manifest):
    head = Head(outputs=("zone_2",), activation="sigmoid", kind="severity")
    np.testing.assert_array_equal(head_targets(manifest, head)[:, 0], [0, 1, 1, np.nan])


def test_values_have_the_columns_of_their_names(manifest):
    head = Head(outputs=("opacity",), activation="identity", kind="value")
    graded = manifest.assign(v_opacity=[0.5, 6, np.nan, 1])
    np.testing.assert_array_equal(head_targets(graded, head)[:, 0], [0.5, 6, np.nan, 1])


def test_classes_with_a_sigmoid_each_are_one_hot_and_asked_about_one_by_one(manifest):
    head = Head(outputs=("normal", "covid"), activation="sigmoid", kind="probability", exclusive=True)
    np.testing.assert_array_equal(head_targets(manifest, head)[:2], [[0, 1], [1, 0]])
    assert asked_questions({"label": head}, positive="") == {"normal": ("normal",), "covid": ("covid",)}


def test_a_network_is_asked_about_each_of_its_outputs():
    two = class_heads(("non-covid", "covid"))
    assert asked_questions(two, positive="covid") == {"covid": ("covid",)}
    assert asked_questions(two, positive="") == {"label: all classes": ("non-covid", "covid")}
    asked = asked_questions(LABEL_AND_ZONES | FINDINGS, positive="covid")
    zones = [f"zone_{number}" for number in range(6)]
    assert list(asked) == ["label: all classes", "covid", *zones, "edema", "mass"]
    assert asked["label: all classes"] == ("normal", "pneumonia", "covid")


def test_each_question_has_the_metrics_of_its_kind():
    draw = np.random.default_rng(0)
    images = pd.DataFrame({"image_id": [f"new/{number}" for number in range(30)]}).assign(
        patient_id=lambda table: table["image_id"], dataset="new", split="test", source="", view="", date=pd.NaT
    )
    probability = draw.dirichlet(np.ones(3), 30)
    severity, graded = draw.random((30, 6)), np.full((30, 6), np.nan)
    truth = np.eye(3)[np.arange(30) % 3]
    graded[:20, 1] = severity[:20, 1] + draw.normal(0, 0.1, 20)
    parts = {"label": (probability, truth), "zones": (severity, graded)}
    heads = LABEL_AND_ZONES
    table = pd.concat(
        prediction_rows(images, *parts[name], outputs=head.outputs, kind=head.kind, **FIT)
        for name, head in heads.items()
    )
    found = score_questions(table, asked_questions(heads, positive="covid"))
    assert list(found) == ["label: all classes", "covid", "zone_1"]
    expected = np.mean([roc_auc_score(truth[:, column], probability[:, column]) for column in range(3)])
    assert found["label: all classes"]["macro_auroc"].value == pytest.approx(expected)
    assert found["covid"]["auroc"].value == pytest.approx(roc_auc_score(truth[:, 2], probability[:, 2]))
    zone = found["zone_1"]
    assert set(zone) == {"mse", "mae", "pearson", "r2"}
    assert zone["mse"].value == pytest.approx(np.mean((severity[:20, 1] - graded[:20, 1]) ** 2))
    assert zone["pearson"].value == pytest.approx(pearsonr(severity[:20, 1], graded[:20, 1]).statistic)
    assert zone["mse"].low < zone["mse"].value < zone["mse"].high


def test_a_stored_multi_task_network_reads_masks_from_the_table(tmp_path):
    """Packed as for training, predicted by both heads; a zone without lung has the severity 0."""
    for number, side in enumerate((slice(0, 64), slice(0, 32))):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64), dtype=np.uint8)
        mask = np.zeros((64, 64), np.uint8)
        mask[8:56, side] = 255
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / f"{number}_mask.png")
    lines = "image,label,mask,zone_0,zone_5\n0.png,covid,0_mask.png,2,0\n1.png,normal,1_mask.png,0,\n"
    (tmp_path / "labels.csv").write_text(lines)
    network = MultitaskConfig(
        corpus=NetworkConfig(backbone="test_resnet"),
        side=64,
        transformer=TransformerConfig(width=24, layers=1, heads=3),
        upsizing=(4, 4, 4, 4),
    )
    classes = Head(outputs=("normal", "covid"), activation="sigmoid", kind="probability", exclusive=True)
    heads = {"label": classes, "zones": Head(outputs=ZONES, activation="sigmoid", kind="severity")}
    prepared = PackConfig(size=64).model_dump() | {"crop": 64, "mean": [0.5], "std": [0.25]}
    prepared.pop("smooth")  # as weights of before this option have it
    model = build_network(network, 8, seed=0)
    extra = {"fit": {"study": "s", "condition": "c", "seed": 0}}
    save_weights(model, tmp_path / "model", config=network, heads=heads, preprocessing=prepared, extra=extra)
    loaded, description = load_model(tmp_path / "model")
    source = CsvSource(root=tmp_path)
    manifest, _ = scan_to_manifest(source, "new")
    data = pack_like_training(manifest.assign(split="test"), tmp_path, tmp_path / "data", description, patients="known")
    engine = Engine(HardwareConfig(device="cpu", precision="fp32"))
    table = predict_network(loaded, description, data, engine, name="m").set_index(["image_id", "output"])
    assert len(table) == 2 * 8
    left = table.loc["new/1.png"]
    assert (left.loc[list(ZONES[3:]), "score"] == 0).all()
    assert (left.loc[list(ZONES[:3]), "score"] > 0).all()
    assert table.loc[("new/0.png", "zone_0"), "target"] == 1
    assert table.loc[("new/0.png", "covid"), ["target", "kind"]].tolist() == [1, "probability"]
    scored = score_questions(table.reset_index(), asked_questions(heads, positive=""))
    assert list(scored) == ["normal", "covid", "zone_0", "zone_5"]
