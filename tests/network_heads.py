"""Heads that tests store networks with."""

from collections.abc import Sequence

from medtransfer.models.heads import Head


def class_heads(classes: Sequence[str]) -> dict[str, Head]:
    """Exclusive classes, as a supervised fit stores them."""
    return {"label": Head(outputs=tuple(classes), activation="softmax", kind="probability")}


FINDINGS = {"findings": Head(outputs=("edema", "mass"), activation="sigmoid", kind="probability")}
"""Findings that do not exclude each other, as a multi-label fit stores them."""

LABEL_AND_ZONES = class_heads(("normal", "pneumonia", "covid")) | {
    "zones": Head(outputs=tuple(f"zone_{number}" for number in range(6)), activation="identity", kind="severity")
}
"""A network that names the disease and grades six zones of the lungs."""
