"""What a head may be, and how raw outputs become its scores."""

from typing import Any

import pytest
import torch

from medtransfer.errors import ModelError
from medtransfer.models.heads import Head, activate, check_heads, require_trained, split_heads

LABEL = Head(outputs=("normal", "covid"), activation="softmax", kind="probability")
FINDINGS = Head(outputs=("edema", "mass"), activation="sigmoid", kind="probability")
ZONES = Head(outputs=("zone_0",), activation="identity", kind="severity")
ALL = {"label": LABEL, "findings": FINDINGS, "zones": ZONES}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": ()}, r"outputs \[\]: sigmoid needs at least 1"),
        ({"outputs": ("a",), "activation": "softmax"}, r"outputs \[a\]: softmax needs at least 2"),
        ({"outputs": ("a", "a")}, "a name is empty or occurs twice"),
        ({"outputs": ("a", "")}, "a name is empty or occurs twice"),
        ({"activation": "identity"}, "identity gives no probability, but severity or value"),
        ({"activation": "softmax", "kind": "severity"}, "softmax gives no severity, but probability"),
        ({"exclusive": True, "kind": "severity"}, "exclusive classes have a probability, not severity"),
        ({"exclusive": True, "outputs": ("a",)}, "sigmoid needs at least 2"),
        ({"kind": "value"}, "sigmoid gives no value, but probability or severity"),
    ],
)
def test_a_head_without_meaning_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Head(**{"outputs": ("a", "b"), "activation": "sigmoid", "kind": "probability"} | changes)


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({}, "expected at least one"),
        ({"": LABEL}, "expected at least one, none called index"),
        ({"target": LABEL}, "none called index, target"),
        ({"label": LABEL, "other": LABEL}, r"output 'covid' is in two of them"),
        ({"findings": FINDINGS, "zones": ZONES}, "name 3 outputs, the network has 2"),
    ],
)
def test_heads_that_do_not_describe_a_network_are_refused(heads: dict[str, Head], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_heads(heads, outputs=2)


def test_a_tensor_is_cut_into_columns_and_a_mapping_is_taken_as_it_is() -> None:
    raw = torch.arange(10.0).reshape(2, 5)
    parts = split_heads(raw, ALL)
    assert {name: part[0].tolist() for name, part in parts.items()} == {
        "label": [0, 1],
        "findings": [2, 3],
        "zones": [4],
    }
    turned = dict(reversed(parts.items()))
    assert all(split_heads(turned, ALL)[name] is part for name, part in parts.items())
    assert list(split_heads(turned, ALL)) == list(ALL)


@pytest.mark.parametrize("raw", [torch.zeros(2, 4), torch.zeros(5), {"label": torch.zeros(2, 2)}])
def test_outputs_that_are_not_those_of_the_heads_are_refused(raw: Any) -> None:
    with pytest.raises(ModelError, match=r"network outputs? of shapes? .*, expected \[batch, "):
        split_heads(raw, ALL)


def test_each_head_has_its_own_activation_in_single_precision() -> None:
    raw = torch.randn(3, 5, dtype=torch.bfloat16)
    scores = activate(raw, ALL)
    wide = raw.float()
    torch.testing.assert_close(scores["label"], wide[:, :2].exp() / wide[:, :2].exp().sum(1, keepdim=True))
    torch.testing.assert_close(scores["findings"], 1 / (1 + (-wide[:, 2:4]).exp()))
    assert torch.equal(scores["zones"], wide[:, 4:])
    assert {part.dtype for part in scores.values()} == {torch.float32}


def test_one_head_that_was_never_trained_is_enough_to_refuse() -> None:
    require_trained(ALL, what="fit")
    with pytest.raises(ModelError, match="fit: head 'zones' was never trained"):
        require_trained(ALL | {"zones": ZONES.model_copy(update={"trained": False})}, what="fit")
