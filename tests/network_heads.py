"""Networks, heads and preprocessing that tests store weights with."""

from collections.abc import Sequence

from medtransfer.data.manifest import ZONES
from medtransfer.models.classifier import NetworkConfig
from medtransfer.models.heads import Head
from medtransfer.models.multitask import MultitaskConfig
from medtransfer.models.tokens import TransformerConfig

GREY = {"channels": 1, "depth": 8, "equalize": False, "window": None, "mean": [0.5], "std": [0.3]}
PREPROCESSING = {"size": 40, "crop": 32, **GREY}
"""Grey images of 40 pixels of which the network sees 32."""


def class_heads(classes: Sequence[str]) -> dict[str, Head]:
    """Exclusive classes, as a supervised fit stores them."""
    return {"label": Head(outputs=tuple(classes), activation="softmax", kind="probability")}


FINDINGS = {"findings": Head(outputs=("edema", "mass"), activation="sigmoid", kind="probability")}
"""Findings that do not exclude each other, as a multi-label fit stores them."""

LABEL_AND_ZONES = class_heads(("normal", "pneumonia", "covid")) | {
    "zones": Head(outputs=tuple(f"zone_{number}" for number in range(6)), activation="identity", kind="severity")
}
"""A network that names the disease and grades six zones of the lungs."""

ZONES_SIDE = 64
ZONES_NETWORK = MultitaskConfig(
    corpus=NetworkConfig(backbone="test_resnet"),
    side=ZONES_SIDE,
    transformer=TransformerConfig(width=24, layers=1, heads=3),
    upsizing=(4, 4, 4, 4),
)
"""A small network of the multi-task study, which reads lung masks; its heads are ``ZONES_HEADS``."""
ZONES_HEADS = {
    "label": Head(outputs=("normal", "covid"), activation="sigmoid", kind="probability", exclusive=True),
    "zones": Head(outputs=ZONES, activation="sigmoid", kind="severity"),
}
