"""Which rows a phase reads and in which view: training, evaluation."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from medtransfer import paths
from medtransfer.data.images import grey_levels
from medtransfer.data.loaders import Loader
from medtransfer.data.lungs import Segment
from medtransfer.data.manifest import ZONES
from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.data.transforms import AugmentConfig
from medtransfer.errors import ConfigError, DataError
from medtransfer.training.engine import Engine
from medtransfer.training.optim import TrainConfig

EVALUATION_BATCH = 64


class Phase(Protocol):
    """What the settings of every phase have."""

    @property
    def dataset(self) -> str:
        """Name of the data set."""

    @property
    def augment(self) -> AugmentConfig:
        """Recipe of random changes and the crop."""

    @property
    def train(self) -> TrainConfig:
        """Budget, batch, optimiser and selection."""


def open_dataset(name: str) -> PackedDataset:
    """Open a prepared data set and compare every file with its recorded hash, so that damaged bytes train nothing."""
    data = PackedDataset.open(paths.dataset(name))
    data.verify()
    return data


def supervised_loader(
    data: PackedDataset,
    phase: Phase,
    seed: int,
    engine: Engine,
    *,
    outputs: Sequence[str] = (),
    blank: bool = False,
    lungs: bool = False,
    segment: Segment | None = None,
    like: PackedDataset | None = None,
    among: np.ndarray | None = None,
) -> Loader:
    """Return the training loader of a phase with labels; only rows of the training split reach it.

    With ``outputs`` (findings, zones) the targets are these instead of the classes; a flipped image has its left and
    right zones exchanged. With ``blank`` findings that the data set does not label are accepted, with ``lungs`` a batch
    holds lung masks, those of ``segment`` where there is no file. Images are normalised ``like`` those of another data
    set that the network reads too. Only rows ``among`` the true ones of a mask over the manifest count.
    """
    targets, rows_of = _targets(data, outputs, blank, among)
    known = (like or data).meta
    views: dict[str, Any] = {"targets": targets, "mirror": mirrored_columns(outputs), "lungs": lungs}
    views |= {"segment": segment, "normalization": (known.mean, known.std)}
    return training_loader(data, rows_of("train"), phase, seed, engine, **views)


def evaluation_loader(
    data: PackedDataset,
    split: str | None,
    crop: int,
    engine: Engine,
    *,
    trained_on: PackedDataset | None = None,
    outputs: Sequence[str] = (),
    blank: bool = False,
    lungs: bool = False,
    segment: Segment | None = None,
    among: np.ndarray | None = None,
) -> Loader:
    """Return a loader over the labelled rows of one split, or of all, in the evaluation view: no randomness.

    Images of a data set that the network was not trained on are normalised like those that it was ``trained_on``.
    With ``outputs`` (findings, zones) the targets are these instead of the classes, with ``blank`` also findings that
    the data set does not label. With ``lungs`` a batch holds lung masks, of a segmenter where there is no file. Only
    rows ``among`` the true ones of a mask over the manifest count.
    """
    targets, rows_of = _targets(data, outputs, blank, among)
    rows = rows_of(split)
    if len(rows) == 0:
        where = f"the {split} split has" if split else "these rows have"
        raise DataError(f"{data.meta.name}: {where} no labelled image; check its split settings")
    known = (trained_on or data).meta
    return Loader(
        data,
        rows,
        batch_size=EVALUATION_BATCH,
        crop=crop,
        targets=targets,
        seed=0,
        train=False,
        lungs=lungs,
        segment=segment,
        normalization=(known.mean, known.std),
        device=engine.device,
    )


def mirrored_columns(outputs: Sequence[str]) -> tuple[int, ...] | None:
    """Return the column that each output becomes in a flipped image; nothing where no output has a side.

    Raises:
        ConfigError: a zone has no partner on the other side among the outputs.
    """
    partners = dict(zip(ZONES, (*ZONES[3:], *ZONES[:3]), strict=True))
    if not partners.keys() & set(outputs):
        return None
    if alone := [name for name in outputs if partners.get(name, name) not in outputs]:
        raise ConfigError(f"outputs: {alone[0]} needs {partners[alone[0]]} beside it, flips exchange them; add it")
    return tuple(list(outputs).index(partners.get(name, name)) for name in outputs)


def _targets(
    data: PackedDataset, outputs: Sequence[str], blank: bool, among: np.ndarray | None
) -> tuple[np.ndarray | None, Callable[[str | None], np.ndarray]]:
    """Return the targets that replace the classes, if any, and a function from a split to its rows with a target.

    Of several outputs one must be known; a known finding or severity zone is no class.
    """
    targets = data.targets(outputs, blank=blank) if outputs else None
    known = np.asarray(data.class_index >= 0 if targets is None else ~np.isnan(targets).all(axis=1))
    known = known if among is None else known & among

    def rows(split: str | None) -> np.ndarray:
        labelled = data.rows(split=split)
        return labelled[known[labelled]]

    return targets, rows


def grey_images(data: PackedDataset, rows: Rows) -> np.ndarray:
    """Return images of any depth and colour as uint8 ``[M, H, W]``: what regions are located in."""
    return grey_levels(data.images[rows])


def training_loader(
    data: PackedDataset, rows: np.ndarray, phase: Phase, seed: int, engine: Engine, **views: Any
) -> Loader:
    """Return a training loader over rows; ``views`` are further arguments of ``Loader``."""
    return Loader(
        data,
        rows,
        batch_size=phase.train.batch_size,
        augment=phase.augment,
        seed=seed,
        train=True,
        device=engine.device,
        rank=engine.rank,
        world=engine.world,
        **views,
    )
