"""Which columns a registered model's table has."""

import numpy as np
import pytest

from medtransfer.errors import ModelError
from medtransfer.evaluation.calibration import at_temperature as reported
from medtransfer.files import write_json
from medtransfer.models.heads import Head
from medtransfer.tracking.columns import at_temperature, calibrated, head_columns, read_temperatures, score_table
from network_heads import FINDINGS, LABEL_AND_ZONES, class_heads


def stored(heads):
    return {name: head.model_dump(mode="json") for name, head in heads.items()}


def test_scores_are_named_by_their_kind_and_only_exclusive_classes_have_a_label():
    age = {"age": Head(outputs=("years",), activation="identity", kind="value")}
    found = head_columns(stored(FINDINGS | age | LABEL_AND_ZONES), where="model")
    assert found["findings"] == ("", ("probability_edema", "probability_mass"))
    assert found["age"] == ("", ("value_years",))
    assert found["label"] == ("label", ("probability_normal", "probability_pneumonia", "probability_covid"))
    assert found["zones"] == ("", tuple(f"severity_zone_{number}" for number in range(6)))


def test_several_heads_of_exclusive_classes_have_a_label_each():
    two = class_heads(("normal", "covid")) | {"view": class_heads(("pa", "ap"))["label"]}
    found = head_columns(stored(two), where="model")
    assert [columns.label for columns in found.values()] == ["label_label", "label_view"]


@pytest.mark.parametrize("heads", [3, [], {"label": {}}, {"label": 3}, {"label": {"trained": True}}])
def test_damaged_heads_are_refused(heads):
    with pytest.raises(ModelError, match="model: damaged heads; run the stage that writes them again"):
        head_columns(heads, where="model")


@pytest.mark.parametrize("temperature", [0.05, 0.7, 1, 3, 20])
def test_a_temperature_is_applied_as_in_the_report(temperature):
    probability = np.array([0.0, 1e-300, 1e-9, 0.2, 0.5, 0.9, 1 - 1e-9, 1.0])
    np.testing.assert_allclose(at_temperature(probability, temperature), reported(probability, temperature), atol=1e-12)


def test_calibrated_probabilities_are_beside_the_others_and_the_label_stays():
    scores = {"label": np.array([[0.6, 0.1, 0.7], [0.3, 0.2, 0.1]]), "zones": np.full((2, 6), 0.4)}
    columns = head_columns(stored(LABEL_AND_ZONES), where="model")
    plain = score_table(scores, columns, LABEL_AND_ZONES)
    warm = {"covid": 4.0, "normal": 0.25, "zone_0": 2.0, "other": 2.0}
    table = score_table(scores, columns, LABEL_AND_ZONES, temperatures=warm)
    assert list(table) == [*plain, "calibrated_normal", "calibrated_covid"]
    assert table[list(plain)].equals(plain)
    assert list(table["label"]) == ["covid", "normal"]
    np.testing.assert_allclose(table["calibrated_covid"], reported(scores["label"][:, 2], 4.0))
    assert calibrated(columns, warm) == {"normal": 0.25, "covid": 4.0}


def test_temperatures_are_read_beside_the_weights(tmp_path):
    assert read_temperatures(tmp_path) == {}
    write_json(tmp_path / "calibration.json", {"covid": 2.0})
    assert read_temperatures(tmp_path) == {"covid": 2.0}
    write_json(tmp_path / "calibration.json", {"covid": 0})
    with pytest.raises(ModelError, match="temperature of 'covid': expected a number above 0"):
        read_temperatures(tmp_path)
