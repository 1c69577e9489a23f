"""Which targets and metrics each head has on images that a network has never seen."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import roc_auc_score

from medtransfer.data.manifest import build_manifest
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.models.heads import Head
from medtransfer.training.evaluating import asked_questions, score_questions
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


@pytest.mark.parametrize(
    "changes", [{"activation": "sigmoid"}, {"kind": "value"}, {"outputs": ("left",)}, {"outputs": ("edema",)}]
)
def test_a_severity_of_another_scale_or_name_has_no_target(manifest, changes):
    head = Head(**{"outputs": ("zone_2",), "activation": "identity", "kind": "severity"} | changes)
    assert np.isnan(head_targets(manifest, head)).all()


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
