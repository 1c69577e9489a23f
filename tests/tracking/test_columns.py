"""Which columns a registered model's table has."""

import pytest

from medtransfer.errors import ModelError
from medtransfer.models.heads import Head
from medtransfer.tracking.columns import head_columns
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
