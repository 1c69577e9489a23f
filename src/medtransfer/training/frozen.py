"""Training on a frozen base: only the head learns, and what the base makes of an image is computed once.

With augmentation an image has K views that its epochs show in turn (``KerasLoader``), so its base is computed K times.
Cached or not, a step sees the same maps: they are made in batches of one size, and a base has no state of its own.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from medtransfer.data.keras import KerasLoader
from medtransfer.data.loaders import Batch as Made
from medtransfer.losses.classification import masked_bce
from medtransfer.models.classifier import Classifier
from medtransfer.models.heads import Head, activate
from medtransfer.training.engine import Engine
from medtransfer.training.progress import over
from medtransfer.training.task import Batch, Losses, NetworkTask


class FrozenBase:
    """A network's trunk in evaluation mode (W-3), without gradients, on the engine's device and in its precision."""

    def __init__(self, model: Classifier, engine: Engine) -> None:
        self.trunk, self.engine = engine.place(model.trunk).requires_grad_(False).eval(), engine

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the last maps of images ``[batch, 3, h, w]``, contiguous."""
        with self.engine.autocast():
            moved = self.engine.batch({"image": images})["image"]
            maps: Tensor = self.trunk.forward_features(moved)  # type: ignore[operator]
        return maps.contiguous()


class FrozenLoader(KerasLoader):
    """Batches that hold the base's ``maps`` instead of images, each view of each image computed once.

    Args:
        base: makes the maps.
        cached: keep the maps; else the base runs on every batch, with the same result.
    """

    def __init__(self, *args: Any, base: FrozenBase, cached: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        self.base, self.cached = base, cached
        self._kept: dict[int, Tensor] = {}
        self._place = {int(row): place for place, row in enumerate(self.rows)}

    def seen(self, rows: npt.NDArray[np.int64], view: int) -> Made:
        """Return ``maps`` of one view of some rows ``[batch, channels, rows, columns]``."""
        if not self.cached or (self.train and self.repeated is None):
            return {"maps": self.base(self.images_of(rows, view))}
        if view not in self._kept:
            self._kept[view] = self._all(view)
        places = torch.tensor([self._place[int(row)] for row in rows], device=self._kept[view].device)
        return {"maps": self._kept[view].index_select(0, places)}

    def _all(self, view: int) -> Tensor:
        """Return the maps of all rows in batches of the loader's size; the last one is filled up with the first row."""
        size = self.batch_size // self.world
        filled = np.concatenate([self.rows, np.repeat(self.rows[:1], -len(self.rows) % size)])
        batches, parts = filled.reshape(-1, size), list[Tensor]()
        with over("frozen base", len(batches), images=size, quiet=not self.base.engine.is_main) as bar:
            for rows in batches:
                parts.append(self.base(self.images_of(rows, view)))
                bar.advance()
        return torch.cat(parts)[: len(self.rows)]


class BinaryTask(NetworkTask):
    """One class against all others by one sigmoid unit and binary cross-entropy (West et al. 2020)."""

    def __init__(self, model: nn.Module, positive: str) -> None:
        super().__init__(model, binary_heads(positive))

    def losses(self, batch: Batch) -> Losses:
        """Return ``total``, the mean binary cross-entropy in nats."""
        return {"total": masked_bce(self.module(batch["image"]), batch["target"])}


class FrozenTask(BinaryTask):
    """The same, with the head alone as what is trained; batches hold ``maps``. The whole network is exported."""

    def __init__(self, model: Classifier, positive: str) -> None:
        super().__init__(model.head, positive)
        self._whole = model

    def losses(self, batch: Batch) -> Losses:
        """Return ``total``, the mean binary cross-entropy in nats."""
        return {"total": masked_bce(self.module(batch["maps"]), batch["target"])}

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the scores of the head, float32 ``[batch, 1]``."""
        return activate(self.module(batch["maps"]), self._heads)

    def exported(self) -> nn.Module:
        """Return the network with its base."""
        return self._whole


def binary_heads(positive: str) -> dict[str, Head]:
    """Return the one head of a network that tells a class from all others."""
    return {"label": Head(outputs=(positive,), activation="sigmoid", kind="probability")}
