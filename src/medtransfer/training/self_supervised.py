"""Self-supervised training: its task, the views and lobe regions that it reads, and what is watched meanwhile."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from medtransfer.data.loaders import Loader, Regions
from medtransfer.data.packed import PackedDataset
from medtransfer.models.heads import Head
from medtransfer.ssl import health
from medtransfer.ssl.regions import Located
from medtransfer.training.engine import Engine
from medtransfer.training.inference import classification_metrics, predict
from medtransfer.training.loading import evaluation_loader, grey_images, training_loader
from medtransfer.training.optim import Group, TrainConfig
from medtransfer.training.task import Batch, Losses, Task, groups_of
from medtransfer.training.validation import inserted_metrics


class SelfSupervisedTask:
    """A self-supervised method whose forward pass returns its losses; outputs the encoder's features.

    The encoder has a head for ``classes`` that no loss reaches.
    """

    def __init__(self, method: nn.Module, classes: Sequence[str]) -> None:
        self.module = method
        self.head = Head(outputs=tuple(classes), activation="softmax", kind="probability", trained=False)

    def losses(self, batch: Batch) -> Losses:
        """Return the method's losses with ``total``."""
        losses: Losses = self.module(batch)
        return losses

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``features`` float32 ``[batch, width]`` of the query encoder."""
        encoder: Any = self.exported()
        return {"features": encoder.features(batch["image"]).float()}

    def groups(self, config: TrainConfig) -> list[Group]:
        """Return what is trained; the key encoder is frozen and so left out."""
        return groups_of(self.module, config)

    def after_step(self, progress: float) -> None:
        """The method updates its key encoder and queue inside its forward pass."""

    def exported(self) -> nn.Module:
        """Return the query encoder."""
        return cast(nn.Module, self.module.encoder)

    def heads(self) -> dict[str, Head]:
        """Return ``label``, which was never trained."""
        return {"label": self.head}


class TrainingRegions(NamedTuple):
    """Where the five lobe regions of every training image are, and for how many images that is a guess."""

    boxes: np.ndarray
    """[N, 5, 4] float32 in pixels, a row of the manifest each; zeros outside the training split."""
    images: int
    """Training images, labelled or not."""
    without_lungs: int
    """Those in which no lungs were found, so that the whole image took their place."""

    def counts(self) -> dict[str, int]:
        """Return what a run tracks: ``data/images`` and ``data/without_lungs``."""
        return {"data/images": self.images, "data/without_lungs": self.without_lungs}


def training_regions(data: PackedDataset, locate: Callable[[np.ndarray], Located]) -> TrainingRegions:
    """Locate the lobe regions of the training split.

    Args:
        data: a packed data set of CT slices.
        locate: gives the boxes of grey images uint8 ``[M, H, W]``.
    """
    rows = data.rows(split="train", labelled=False)
    located = locate(grey_images(data, rows))
    boxes = np.zeros((len(data.images), 5, 4), dtype=np.float32)
    boxes[rows] = located.boxes
    return TrainingRegions(boxes, images=len(rows), without_lungs=int((~located.found).sum()))


def self_supervised_loader(
    data: PackedDataset, phase: Any, seed: int, engine: Engine, *, regions: TrainingRegions | None
) -> Loader:
    """Return the loader of a self-supervised phase: two views of every training image, and its regions when there are.

    Only the training split is read, labelled or not: validation and test images never enter pretraining.
    """
    rows = data.rows(split="train", labelled=False)
    cut = regions and Regions(regions.boxes, phase.region_size, phase.region_augment)
    return training_loader(data, rows, phase, seed, engine, views=2, regions=cut)


def probe_validation(
    data: PackedDataset, crop: int, engine: Engine, *, views: Loader, positive: str, neighbours: int
) -> Callable[[Task], dict[str, float]]:
    """Return a function that watches an encoder: a kNN probe on validation labels and signs of collapse.

    ``views`` is the training loader, whose first batch gives the pairs for the alignment.
    """
    loaders = {split: evaluation_loader(data, split, crop, engine) for split in ("train", "val")}

    def validate(task: Task) -> dict[str, float]:
        predicted = {split: predict(task, loader, engine) for split, loader in loaders.items()}
        features = {split: torch.from_numpy(parts["features"]) for split, parts in predicted.items()}
        labels = torch.from_numpy(predicted["train"]["target"])
        classes, near = data.meta.classes, min(neighbours, len(labels))

        def probe(of: torch.Tensor) -> np.ndarray:
            known = features["train"]
            return health.knn_probe(known, labels, of, classes=len(classes), neighbours=near).numpy()

        def again() -> np.ndarray:
            return probe(torch.from_numpy(predict(task, loaders["val"], engine)["features"]))

        probability = probe(features["val"])
        spread = health.feature_spread(features["val"])
        metrics = classification_metrics(probability, predicted["val"]["target"], classes, positive=positive)
        metrics |= {
            "health/spread": spread,
            "health/alignment": _alignment(task, views, engine),
            "health/uniformity": health.uniformity(features["val"]),
            "health/collapsed": float(health.collapsed(spread)),
        }
        return metrics | inserted_metrics(task.module.encoder, loaders["val"], engine, probability, again)

    return validate


def _alignment(task: Task, views: Loader, engine: Engine) -> float:
    """Return the mean squared distance of the features of two views of the same images."""
    batch = engine.batch(views.batch(0, 0))
    with torch.inference_mode(), engine.autocast():
        pair = [task.outputs({"image": batch[view]})["features"] for view in ("query", "key")]
    return health.alignment(*pair)
