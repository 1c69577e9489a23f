"""Ready-made weights as a start of transfer: from a file, an earlier stage, timm's hub or the registry."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from medtransfer.config import Config
from medtransfer.files import write_json
from medtransfer.models.classifier import build_network
from medtransfer.models.heads import Head
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

READY_MADE = "ready_made.json"
"""What was loaded, beside the weights of a start that no fit made."""
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


def write_ready_made(network: Structure, start: StartConfig, folder: Path, *, seeds: Sequence[int], name: str) -> None:
    """Write a variant's weights from ready-made ones, and beside them what was loaded.

    Args:
        network: the network that takes them.
        start: where they come from.
        folder: the variant's folder.
        seeds: one weights folder each; they differ in what the ready-made weights lack.
        name: the chain or backbone that the weights stand for, kept beside them.

    Raises:
        CheckpointError, ModelError: see ``models.weights.initialise``.
    """
    init = _fetched(start) if isinstance(start, RegistryInit) else start
    for seed in seeds:
        model = build_network(network, classes=len(UNTRAINED_CLASSES), seed=seed)
        report = initialise(model, network, init)
        extra = {"chain": name, "seed": seed, "source": report.source}
        save_weights(
            model,
            folder / "weights" / f"seed{seed}",
            config=network,
            heads=_heads(init, report),
            preprocessing={},
            extra=extra,
        )
        counts = {"loaded": len(report.loaded), "kept": list(report.kept), "left_aside": len(report.ignored)}
        write_json(folder / "records" / f"seed{seed}" / READY_MADE, extra | counts)


def _heads(init: TrainInit | TimmInit | FileInit, report: LoadReport) -> dict[str, Head]:
    """Return what the outputs mean: what the ready-made weights say of their own head, where it was loaded."""
    if "head.weight" not in report.loaded:
        return UNTRAINED_HEADS
    if isinstance(init, FileInit) and (init.path / DESCRIPTION).exists():
        return stored_heads(init.path)
    return {name: head.model_copy(update={"trained": True}) for name, head in UNTRAINED_HEADS.items()}


def _fetched(start: RegistryInit) -> FileInit:
    from medtransfer.tracking.registry import fetch_model

    return FileInit(path=fetch_model(start.model))
