"""Ready-made weights as a start of transfer: from a file, an earlier stage, timm's hub or the registry."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from medtransfer.config import Config
from medtransfer.errors import TrackingError
from medtransfer.files import write_json
from medtransfer.models.classifier import Classifier, build_network
from medtransfer.models.heads import Head, Heads
from medtransfer.models.structures import Structure
from medtransfer.models.weights import (
    DESCRIPTION,
    FileInit,
    LoadReport,
    TimmInit,
    TrainInit,
    initialise,
    save_weights,
    stored_heads,
)
from medtransfer.paths import FitPaths

READY_MADE = "ready_made.json"
"""In the records of weights that were not trained here: what was loaded."""
UNTRAINED_CLASSES = tuple(map(str, range(1000)))
"""Names of the outputs of a network whose own head is not used: the 1000-way head of ImageNet."""
UNTRAINED_HEADS = {
    "label": Head(outputs=UNTRAINED_CLASSES, activation="softmax", kind="probability", trained=False),
}
"""What the outputs of such a network mean: nothing yet."""


class RegistryInit(Config):
    """Start from a registered model."""

    kind: Literal["registry"] = "registry"
    model: str = Field(pattern=r"^models:/")


StartConfig = Annotated[TrainInit | TimmInit | FileInit | RegistryInit, Field(discriminator="kind")]
"""``train`` trains the network here; ``file`` also takes the weights folder of any earlier stage."""


def absence(start: TimmInit | FileInit | RegistryInit) -> str:
    """Return why ready-made weights are not at hand: no such file, no such registered model; else empty.

    Of timm's hub, which may be out of reach, it is known only when the weights are fetched.
    """
    if isinstance(start, FileInit):
        return "" if start.path.exists() else f"{start.path} does not exist"
    if isinstance(start, RegistryInit):
        try:
            _fetched(start)
        except TrackingError as error:
            return str(error)
    return ""


def write_untrained(network: Structure, fits: Sequence[FitPaths]) -> None:
    """Write a network with random weights for the seed of every fit."""
    for fit in fits:
        model = build_network(network, classes=len(UNTRAINED_CLASSES), seed=fit.seed)
        _save(model, network, fit, UNTRAINED_HEADS)


def write_ready_made(network: Structure, start: StartConfig, fits: Sequence[FitPaths]) -> None:
    """Write weights from ready-made ones, and in the records what was loaded.

    Args:
        network: the network that takes them.
        start: where they come from.
        fits: where they go; the seeds differ in what the ready-made weights lack.

    Raises:
        CheckpointError, ModelError: see ``models.weights.initialise``.
    """
    init = _fetched(start) if isinstance(start, RegistryInit) else start
    for fit in fits:
        model = build_network(network, classes=len(UNTRAINED_CLASSES), seed=fit.seed)
        report = initialise(model, network, init)
        _save(model, network, fit, _heads(init, report), source=report.source)
        counts = {"loaded": len(report.loaded), "kept": list(report.kept), "left_aside": len(report.ignored)}
        write_json(fit.records / READY_MADE, {"source": report.source} | counts)


def _save(model: Classifier, network: Structure, fit: FitPaths, heads: Heads, *, source: str = "") -> None:
    extra = {"fit": vars(fit)} | ({"source": source} if source else {})
    save_weights(model, fit.weights, config=network, heads=heads, preprocessing={}, extra=extra)


def _heads(init: TrainInit | TimmInit | FileInit, report: LoadReport) -> dict[str, Head]:
    """Return what the outputs mean: what the ready-made weights say of their own head, where it was loaded."""
    if "head.weight" not in report.loaded:
        return UNTRAINED_HEADS
    if isinstance(init, FileInit) and (init.path / DESCRIPTION).exists():
        return stored_heads(init.path)
    return {name: head.model_copy(update={"trained": True}) for name, head in UNTRAINED_HEADS.items()}


def _fetched(start: RegistryInit) -> FileInit:
    from medtransfer.tracking.fetching import fetch_model

    return FileInit(path=fetch_model(start.model))
