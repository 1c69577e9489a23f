"""What a source network knows of a target before it is fine-tuned: its features and its own probabilities, scored."""

from torch import Tensor

from medtransfer.data.loaders import Loader
from medtransfer.evaluation.transferability import TransferScore, transfer_score
from medtransfer.models.classifier import Classifier
from medtransfer.models.heads import Heads, activate
from medtransfer.models.structures import MapHead
from medtransfer.training.engine import Engine
from medtransfer.training.inference import collect
from medtransfer.training.task import Batch


def score_source(
    model: Classifier, heads: Heads, loader: Loader, engine: Engine, *, unavailable: str = ""
) -> TransferScore:
    """Return what a source network knows of the loader's classes before it is fine-tuned.

    Probabilities and features come from one forward pass. The scores that read probabilities ask for exclusive source
    labels; a source without one such head has only those that read features.

    Args:
        model: the source network with its own head; it is moved to the engine's device.
        heads: what its outputs mean.
        loader: labelled target images in the evaluation view.
        engine: device and precision.
        unavailable: why the head has no labels of its own, empty when it has: then no score reads its probabilities.
    """
    exclusive = [name for name, head in heads.items() if head.activation == "softmax"]
    if len(exclusive) != 1:
        unavailable = unavailable or f"the source has {len(exclusive)} heads of exclusive classes, not one"

    def outputs(batch: Batch) -> dict[str, Tensor]:
        features = model.features(batch["image"])
        # a head that reads the map needs a pass of its own
        raw = model(batch["image"]) if isinstance(model.head, MapHead) else model.head(features)
        return {**activate(raw, heads), "features": features.float()}

    collected = collect(engine.place(model), outputs, loader, engine)
    probabilities = None if unavailable else collected[exclusive[0]]
    classes = len(loader.data.meta.classes)
    return transfer_score(
        collected["features"], collected["target"], probabilities, classes=classes, unavailable=unavailable
    )
