"""Batches as a pure function of (seed, epoch, step): nothing is kept, so a run resumes at any step from these numbers.

Order and augmentation come from counters that are hashed to seeds. For a GPU the augmentation runs there and one
background thread works ahead.
"""

import contextlib
import hashlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medtransfer.data.images import Pixels
from medtransfer.data.lungs import Segment, lung_masks
from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.data.transforms import AugmentConfig, augment, augmented_view, evaluate_view
from medtransfer.data.windows import centre_crop, crop_boxes
from medtransfer.errors import ConfigError, DataError

Batch = dict[str, Tensor]
T = TypeVar("T")
AHEAD = 2


def counter_seed(*numbers: int) -> int:
    """Return a 63-bit seed that is a hash of the numbers: neighbouring counters give unrelated streams."""
    digest = hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


class Regions(NamedTuple):
    """Five regions of every image: where they are, and how they are augmented."""

    boxes: npt.NDArray[np.float32]
    """x0, y0, x1, y1 in pixels for every manifest row ``[N, 5, 4]``."""
    size: int
    """Side of a region after resizing, in pixels."""
    augment: AugmentConfig | None = None
    """Recipe for regions; none means only normalised."""


class Loader:
    """Batches of one data set's rows.

    ``batch_size`` counts the images of all ranks together: rank r of w takes the r-th of w slices of each batch, so
    the order of a run does not depend on the number of processes.

    A batch holds ``index`` (manifest positions), ``target`` (class number, −1 without a label; else ``targets``) and
    ``image``; with two views ``query`` and ``key`` instead of ``image``; with regions also ``regions``, five per image,
    image-major; with lungs also ``lungs``, a mask that is moved like its image.

    Example:
        loader = Loader(data, data.rows("train"), batch_size=32, seed=0, train=True, augment=AugmentConfig(crop=64))
        images = loader.batch(epoch=0, step=0)["image"]
    """

    def __init__(
        self,
        data: PackedDataset,
        rows: Rows,
        *,
        batch_size: int,
        seed: int,
        train: bool,
        augment: AugmentConfig | None = None,
        crop: int | None = None,
        targets: npt.NDArray[np.float32] | None = None,
        views: Literal[1, 2] = 1,
        regions: Regions | None = None,
        lungs: bool = False,
        segment: Segment | None = None,
        mirror: Sequence[int] | None = None,
        normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
        device: str | torch.device = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Check the numbers; nothing is read yet.

        Args:
            data: the packed data set.
            rows: manifest positions to draw from.
            batch_size: images per step over all ranks; a multiple of ``world``.
            seed: seed of order and augmentation.
            train: shuffle every epoch and drop the last incomplete batch; else the given order, all rows.
            augment: recipe; none means the centre crop.
            crop: side of the centre crop, needed without a recipe.
            targets: target of every manifest row ``[N, ...]``, NaN where not known; class numbers when not given.
            views: 2 gives two independent draws of the recipe, ``query`` and ``key``.
            regions: five regions of every manifest row, cut out of the whole image beside its views.
            lungs: deliver lung masks; see ``lungs.lung_masks``.
            segment: finds the lungs of images without a mask file; without it all is lung in them.
            mirror: the column that each column of ``targets`` becomes when an image is flipped: left and right zones of
                the lungs change places.
            normalization: mean and standard deviation on 0–1; those of the data set when not given.
            device: where images are augmented and delivered.
            rank: this process.
            world: number of processes.

        Raises:
            DataError: there are no rows, or fewer than a batch while training.
            ConfigError: the options do not fit each other.
        """
        _check_rows(data, rows, batch_size, train)
        _check_options(augment, crop, views, (batch_size, rank, world))
        if views == 2 and (lungs or mirror is not None):
            raise ConfigError("loader: lung masks and mirrored targets belong to one view; drop them or one view")
        self.data, self.rows = data, np.ascontiguousarray(rows, np.int64)  # torch takes no negative strides
        self.targets = data.class_index if targets is None else targets
        self.batch_size, self.seed, self.train = batch_size, seed, train
        self.augment, self.views, self.regions = augment, views, regions
        self.lungs, self.segment = lungs, segment
        self.mirror = None if mirror is None else torch.tensor(list(mirror))
        self.crop = augment.crop if augment else crop or 0
        self.mean, self.std = normalization or (data.meta.mean, data.meta.std)
        self.device, self.rank, self.world = torch.device(device), rank, world

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return len(self.rows) // self.batch_size if self.train else -(-len(self.rows) // self.batch_size)

    def batch(self, epoch: int, step: int) -> Batch:
        """Return one batch; the same numbers always give the same batch.

        Raises:
            IndexError: the step is not in the epoch.
        """
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} is not one of the epoch's {self.steps} steps")
        everywhere = self._order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        rows = np.array_split(everywhere, self.world)[self.rank]
        images = self._to_device(self.data.images[rows])
        index = torch.from_numpy(rows)
        batch = {"index": index, "target": torch.from_numpy(self.targets[rows])}
        batch = {key: value.to(self.device) for key, value in batch.items()}
        if self.views == 1:
            batch |= self._single(images, batch["target"], rows, self._generator(epoch, step, 0))
        else:
            batch["query"] = self._view(images, self._generator(epoch, step, 0))
            batch["key"] = self._view(images, self._generator(epoch, step, 1))
        if self.regions:
            batch["regions"] = self._cut(self.regions, images, rows, self._generator(epoch, step, 2))
        return batch

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from step ``start`` on; for a GPU a background thread prepares two ahead.

        On a CPU the step already takes every core: a thread beside it makes the step's own threads wait for each
        other, which costs several times what the thread saves.
        """
        steps = range(start, self.steps)
        if self.device.type == "cpu":
            return (self.batch(epoch, step) for step in steps)
        return prefetch(lambda step: self.batch(epoch, step), steps)

    def _order(self, epoch: int) -> Rows:
        if not self.train:
            return self.rows
        # sorting raw 64-bit draws depends on the generator's published stream alone, not on a shuffle's implementation
        draws = np.random.Philox(key=counter_seed(self.seed, epoch)).random_raw(len(self.rows))
        return self.rows[np.argsort(draws, kind="stable")]

    def _generator(self, epoch: int, step: int, view: int) -> torch.Generator:
        return torch.Generator().manual_seed(counter_seed(self.seed, epoch, step, self.rank, view))

    def _single(self, images: Tensor, target: Tensor, rows: Rows, generator: torch.Generator) -> Batch:
        """Return ``image``, and what depends on its geometry: the target of a flipped image, the mask."""
        lungs = self._lungs(rows) if self.lungs else None
        if self.augment is None:
            moved = {} if lungs is None else {"lungs": centre_crop(lungs, self.crop)}
            return moved | {"image": self._view(images, generator)}
        view = augmented_view(images, self.augment, generator, mean=self.mean, std=self.std, lungs=lungs)
        batch = {"image": view.image} | ({} if view.lungs is None else {"lungs": view.lungs})
        if self.mirror is not None:
            swapped = target[:, self.mirror.to(self.device)]
            batch["target"] = torch.where(view.mirrored.to(self.device)[:, None], swapped, target)
        return batch

    def _lungs(self, rows: Rows) -> Tensor:
        return torch.from_numpy(lung_masks(self.data, rows, self.segment).masks).to(self.device)

    def _view(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self._finish(images, self.augment, self.crop, generator)

    def _cut(self, regions: Regions, images: Tensor, rows: Rows, generator: torch.Generator) -> Tensor:
        cut = crop_boxes(images, torch.from_numpy(regions.boxes[rows]), regions.size)
        return self._finish(cut, regions.augment, regions.size, generator)

    def _finish(self, images: Tensor, recipe: AugmentConfig | None, crop: int, generator: torch.Generator) -> Tensor:
        if recipe is None:
            return evaluate_view(images, crop, mean=self.mean, std=self.std)
        return augment(images, recipe, generator, mean=self.mean, std=self.std)

    def _to_device(self, images: Pixels) -> Tensor:
        tensor = torch.from_numpy(images)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


def prefetch(make: Callable[[int], T], steps: Iterable[int]) -> Generator[T, None, None]:
    """Yield ``make(step)`` for every step, made by one background thread up to two ahead.

    An error in the thread is raised here at its place in the order. Leaving the loop early stops and joins the thread.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(AHEAD)
    stop = threading.Event()

    def put(value: T | None, error: BaseException | None, last: bool) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((value, error, last), timeout=0.1)
                return

    def work() -> None:
        try:
            for step in steps:
                if stop.is_set():
                    return
                put(make(step), None, False)
        except BaseException as error:
            put(None, error, True)
        else:
            put(None, None, True)

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            value, error, last = ready.get()
            if error is not None:
                raise error
            if last:
                return
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()


def _check_rows(data: PackedDataset, rows: Rows, batch_size: int, train: bool) -> None:
    if len(rows) == 0:
        raise DataError(f"{data.folder}: no rows to load, expected at least one; check split and labels")
    if train and len(rows) < batch_size:
        raise DataError(
            f"{data.folder}: batch size {batch_size} is larger than the {len(rows)} training rows; lower the batch size"
        )


def _check_options(
    augment: AugmentConfig | None,
    crop: int | None,
    views: int,
    parts: tuple[int, int, int],
) -> None:
    batch_size, rank, world = parts
    if augment is None and (crop is None or views == 2):
        raise ConfigError("loader: without an augmentation a crop and one view are expected; give augment or crop")
    if augment is not None and crop not in (None, augment.crop):
        raise ConfigError(f"loader: crop {crop} differs from the augmentation's {augment.crop}; give one of them")
    if not 0 <= rank < world or batch_size < 1 or batch_size % world:
        raise ConfigError(
            f"loader: batch size {batch_size} cannot be shared by rank {rank} of {world} processes; "
            "expected a positive multiple of their number"
        )
