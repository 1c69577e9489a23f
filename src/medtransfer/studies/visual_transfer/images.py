"""The question as targets, and images as the study's networks see them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtransfer.data.keras import KerasAugmentConfig, KerasLoader
from medtransfer.data.packed import PackedDataset
from medtransfer.errors import ConfigError
from medtransfer.files import read_json
from medtransfer.models.weights import DESCRIPTION
from medtransfer.studies.visual_transfer.config import VisualTransferConfig
from medtransfer.training.engine import Engine
from medtransfer.training.loading import EVALUATION_BATCH

Normalization = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation on 0–1."""


def targets_of(data: PackedDataset, positive: str) -> npt.NDArray[np.float32]:
    """Return 1 for the class, 0 for any other and NaN without a label, for every row ``[N, 1]``.

    Raises:
        ConfigError: the data set has no such class.
    """
    if positive not in data.meta.classes:
        known = ", ".join(data.meta.classes)
        raise ConfigError(f"{data.meta.name}: class {positive!r} does not exist; the classes are {known}")
    index = data.class_index
    return np.where(index < 0, np.nan, index == data.meta.classes.index(positive)).astype(np.float32)[:, None]


def normalization_of(config: VisualTransferConfig, name: str) -> Normalization:
    """Return mean and standard deviation on 0–1 that images are normalised with for a base; none without a base.

    Raises:
        ConfigError: neither the parameters nor the folder of its weights say them.
    """
    if not name:
        return (0.0,), (1.0,)
    base = config.bases[name]
    if base.mean is not None and base.std is not None:
        return base.mean, base.std
    try:
        prepared = read_json(base.start.path / DESCRIPTION)["preprocessing"] if base.start.kind == "file" else {}
        return tuple(prepared["mean"]), tuple(prepared["std"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"base {name!r}: its weights do not say how images are normalised; give mean and std on 0–1"
        ) from error


def normalization_in(description: Mapping[str, Any]) -> Normalization:
    """Return the normalisation that a stored network's description says."""
    return description["preprocessing"]["mean"], description["preprocessing"]["std"]


def view_of(
    data: PackedDataset,
    split: str,
    config: VisualTransferConfig,
    normalization: Normalization,
    engine: Engine,
) -> KerasLoader:
    """Return the labelled images of a split as a network sees them: cropped, normalised, not changed."""
    targets = targets_of(data, config.positive)
    rows = data.rows(split)
    return KerasLoader(
        data,
        rows[~np.isnan(targets[rows, 0])],
        batch_size=EVALUATION_BATCH,
        seed=0,
        train=False,
        crop=config.crop,
        targets=targets,
        recipe=KerasAugmentConfig(),
        normalization=normalization,
        device=engine.device,
    )
