"""The Python use: five functions over the code of the command line. They write no file and change no store."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medtransfer.data.given import Facts, normalised
from medtransfer.data.images import Decoded
from medtransfer.errors import ModelError
from medtransfer.evaluation.shift import NOT_AVAILABLE, Shift, read_shift
from medtransfer.explain.explainers import explain
from medtransfer.explain.severity import SEVERITY_MAP, require_severity, severity_map
from medtransfer.models.classifier import Classifier
from medtransfer.models.heads import activate, require_trained
from medtransfer.models.memory import keep_freed_memory
from medtransfer.models.weights import load_model as load_weights
from medtransfer.reporting.evaluation import UNLIKE
from medtransfer.stages.audit import audited
from medtransfer.stages.evaluate import Evaluation, evaluated
from medtransfer.tracking.columns import head_columns, read_temperatures, score_table
from medtransfer.tracking.fetching import fetch_model
from medtransfer.tracking.gates import SHIFT
from medtransfer.tracking.lungs import batches_with_lungs
from medtransfer.training.seen import Watched, look

Images = str | Path | bytes | NDArray[Any] | Sequence[str | Path | bytes | Decoded]
"""Image files (PNG, JPEG, TIFF, DICOM, …) as paths or as their bytes, or whole grey levels 0–255 ``[N, C, H, W]``."""


@dataclass(frozen=True)
class Model:
    """A model: ``address``, ``network`` in evaluation mode, and its config.json as ``description``.

    A version that was registered with validation images has ``temperatures`` per output. ``shift`` holds the
    statistics of its training images; None where it was registered without them.
    """

    address: str
    network: Classifier
    description: dict[str, Any]
    temperatures: Mapping[str, float] = field(default_factory=dict)
    shift: Shift | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in the order of the network's columns."""
        return tuple(name for head in self.description["heads"].values() for name in head.outputs)


def load_model(model: str | Path) -> Model:
    """Return a registered model, or the weights of a fit. Hashes are checked, no pickle is loaded.

    From here on the process keeps the memory that it frees (``models/memory.py``).

    Args:
        model: ``models:/<name>@<alias>``, ``models:/<name>/<version>``, or the path of a folder with
            ``model.safetensors`` and ``config.json``.

    Raises:
        TrackingError: no such model (the message lists those that exist), or not the bytes that were registered.
        CheckpointError: a file is damaged or absent.
        ModelError: a head was never trained.
    """
    registered = isinstance(model, str) and model.startswith("models:/")
    folder = fetch_model(str(model)) if registered else Path(model)
    network, description = load_weights(folder)
    keep_freed_memory()
    require_trained(description["heads"], what=str(model))
    return Model(str(model), network, description, read_temperatures(folder), read_shift(folder / SHIFT))


def predict(model: Model, images: Images, *, shift: bool = False) -> pd.DataFrame:
    """Return the table that the registered model returns: one row per image, at most 256 images per call.

    Columns are ``probability_<output>``, ``severity_<output>`` or ``value_<output>``, and of exclusive classes the
    ``label`` before them. A registered model has ``calibrated_<output>`` too: the probabilities at the temperature of
    its validation images; ``label`` is by the probabilities themselves.

    Args:
        model: what ``load_model`` returned.
        images: files or arrays.
        shift: add ``unlike_training``: in what an image is unlike those of training, empty where in nothing, and
            *not available* where the model was registered without their statistics.

    Raises:
        DataError: an image cannot be read, or is not what the model takes.
    """
    heads = model.description["heads"]
    prepared = model.description["preprocessing"]
    watched = Watched(model.network, model.shift.block) if shift and model.shift else None
    parts, origins, seen, facts = [], list[str](), list[NDArray[Any]](), list[Facts]()
    with torch.inference_mode():
        for packed, lungs in batches_with_lungs(_given(images), prepared, facts=facts if watched else None):
            masks = () if lungs is None else (torch.from_numpy(lungs.masks),)
            parts.append(activate((watched or model.network)(normalised(packed, prepared), *masks), heads))
            origins += lungs.origins if lungs else []
            seen += [packed] if watched else []
    stored = {name: head.model_dump() for name, head in heads.items()}
    columns = head_columns(stored, where=model.address)
    scores = {name: torch.cat([part[name] for part in parts]).double().numpy() for name in columns}
    table = score_table(scores, columns, heads, origins=origins, temperatures=model.temperatures)
    if not shift:
        return table
    if model.shift is None or watched is None:
        return table.assign(**{UNLIKE: NOT_AVAILABLE})
    looked = look(model.network, prepared, np.concatenate(seen), features=watched.features, facts=facts)
    return table.assign(**{UNLIKE: ["; ".join(reasons) for reasons in model.shift.unlike(looked)]})


def evaluate(
    model: Model,
    *,
    images: str | Path | None = None,
    manifest: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Evaluation:
    """Return metrics with 95 % intervals over patients, predictions and what was left out: ``medtransfer evaluate``.

    Args:
        model: what ``load_model`` returned.
        images: an image, or a folder; sub-folders named like classes are labels.
        manifest: in its place a CSV table with ``image``, and ``patient_id`` (without which no interval), ``label``,
            ``y_<finding>``, ``zone_0`` … ``zone_5``.
        rename: class of a folder.
        precision: of the network's passes. bf16 is faster where the hardware has units for it, and not equal: of a
            network of real CT slices scores moved by up to 0.08, and 5 of 190 decisions changed.

    Example:
        mt.evaluate(model, manifest="mine.csv").metrics["covid"]["auroc"].low

    Raises:
        DataError: there is no image, or a label is no class of the model.
    """
    if (images is None) == (manifest is None):
        raise TypeError("evaluate: give either images or manifest")
    options = Namespace(
        images=None if images is None else Path(images),
        manifest=None if manifest is None else Path(manifest),
        rename=[f"{folder}={name}" for folder, name in (rename or {}).items()],
        precision=precision,
    )
    return evaluated(options, model.network, model.description, name=model.address, shift=model.shift)


def audit_model(
    model: Model, manifest: str | Path, *, positive: str = "", annotations: str | Path | None = None
) -> dict[str, Any]:
    """Return verdict, reason and rows on shortcuts in the data and in the model: ``medtransfer audit``.

    Args:
        model: what ``load_model`` returned.
        manifest: CSV table of images with labels; where it has a column ``split`` its test images count.
        positive: class or finding in question; the model's positive class by default.
        annotations: CSV table with ``image`` and ``left, top, right, bottom`` of a marker, or ``sex``.

    Returns:
        An entry of ``audits.json``: ``data`` and ``model`` with ``verdict``, ``reason``, ``rows``, and the counts.

    Raises:
        ConfigError: no class is asked about. DataError: no image has an answer to the question.
    """
    options = Namespace(
        manifest=Path(manifest),
        dataset=None,
        predictions=None,
        weights=None,
        model=model.address,
        positive=positive,
        annotations=None if annotations is None else Path(annotations),
    )
    return audited(options, model.network, model.description)[0]


def explain_images(
    model: Model, images: Images, *, output: str = "", explainer: str = "grad_cam"
) -> NDArray[np.float32]:
    """Return where the evidence for an output is, on 0–1, at the network's input size ``[N, crop, crop]``.

    Args:
        model: what ``load_model`` returned.
        images: as for ``predict``; the map is of the centre crop that the network reads.
        output: class or finding; the model's positive class by default.
        explainer: ``grad_cam``, ``saliency``, ``smoothed_saliency``, and where the network has such layers
            ``attention``, ``attention_rollout``, ``relevance``. ``severity_map`` is the probability of a lesion at
            every pixel of the lungs, of a network that grades lung zones; it knows no output.

    Raises:
        ModelError: there is no such output, or the explainer does not fit; the message lists those that do.
        DataError: an image cannot be read.
    """
    prepared = model.description["preprocessing"]
    batches = ((normalised(packed, prepared), lungs) for packed, lungs in batches_with_lungs(_given(images), prepared))
    if explainer == SEVERITY_MAP:
        require_severity(model.network)
        maps = [severity_map(model.network, batch, torch.from_numpy(lungs.masks)) for batch, lungs in batches if lungs]
        return torch.cat(maps).float().numpy()
    wanted = output or model.description["extra"].get("positive", "")
    if wanted not in model.outputs:
        raise ModelError(f"{model.address}: no output {wanted!r}, expected one of {', '.join(model.outputs)}")
    column = model.outputs.index(wanted)
    heats = [explain(explainer, model.network, batch, column) for batch, _ in batches]
    return torch.cat(heats).detach().float().numpy()


def _given(images: Images) -> Any:
    """Return images with text as paths: here, other than in JSON, it is one."""
    given = [images] if isinstance(images, (str, Path, bytes)) else images
    if isinstance(given, (list, tuple)):
        return [Path(each) if isinstance(each, str) else each for each in given]
    return given
