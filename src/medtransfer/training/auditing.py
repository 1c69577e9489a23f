"""From a data set and a stored network to what an audit reads: cases with all that is known of them, and the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medtransfer.audit.cases import Bits, Cases
from medtransfer.audit.used import Answer, Model
from medtransfer.data.images import read_image
from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.data.phantom.record import lungs
from medtransfer.data.sources.base import read_table
from medtransfer.data.transforms import evaluate_view
from medtransfer.errors import DataError, ModelError
from medtransfer.models.classifier import Classifier
from medtransfer.models.heads import Heads, activate, require_trained
from medtransfer.models.structures import MapHead
from medtransfer.training.engine import Engine
from medtransfer.training.loading import EVALUATION_BATCH

BOX = ("left", "top", "right", "bottom")
ATTRIBUTES = ("sex",)
"""Columns of annotations beside the box of a marker; source and view are in the manifest."""


def question(manifest: pd.DataFrame, positive: str, *, what: str = "audit") -> NDArray[np.float64]:
    """Return 1, 0 or NaN (not known) for every row: is it of the class, or has it the finding, ``positive``?

    Raises:
        DataError: neither a label nor a column of findings has this name.
    """
    labels = manifest["label"].to_numpy(object)
    if (labels == positive).any():
        return np.where(labels == "", np.nan, (labels == positive).astype(np.float64))
    if f"y_{positive}" in manifest:
        return np.asarray(manifest[f"y_{positive}"], np.float64)
    findings = [str(name).removeprefix("y_") for name in manifest if str(name).startswith("y_")]
    known = ", ".join(sorted({*labels, *findings} - {""})) or "none"
    raise DataError(f"{what}: no image has the label or finding {positive!r}, expected one of: {known}; ask for one")


def cases_of(
    data: PackedDataset, rows: Rows, *, positive: str, crop: int, annotations: Mapping[str, Any] | None = None
) -> tuple[Cases, Rows]:
    """Return the rows whose answer is known as cases, seen as the network sees them, and these rows.

    Args:
        data: the images.
        rows: which of them.
        positive: class or finding.
        crop: side of the network's view in pixels.
        annotations: what ``read_annotations`` returned.

    Raises:
        DataError: the answer is known for none of the rows.
    """
    asked = question(data.manifest, positive)[rows]
    rows, target = rows[~np.isnan(asked)], asked[~np.isnan(asked)].astype(np.int64)
    if not rows.size:
        raise DataError(
            f"{data.folder}: no image of the audit has a label for {positive!r}; give it images with labels"
        )
    table = data.manifest.iloc[rows]
    attributes = {name: table[name].to_numpy(object) for name in ("source", "view")}
    known, names = annotations or {}, table["patient_id"].to_numpy(object)
    attributes |= {name: known[name][rows] for name in ATTRIBUTES if name in known}
    cases = Cases(
        images=_centre(np.asarray(data.images[rows]), crop),
        target=target,
        patients=names if data.meta.patients == "known" else np.full_like(names, ""),
        attributes=attributes,
        lungs=_lungs(data, rows, crop),
        markers=_boxes(known["boxes"][rows], data.meta.size, crop) if "boxes" in known else None,
    )
    return cases, rows


def network_model(network: Classifier, heads: Heads, prepared: Mapping[str, Any], engine: Engine, output: str) -> Model:
    """Return a stored network as an audit calls it: the score of one output, and its features.

    These are what a linear head reads; under any other head they are the mean of the last map.

    Args:
        network: it is moved to the engine's device.
        heads: what its outputs mean.
        prepared: its ``preprocessing``.
        engine: device and precision.
        output: of the question.

    Raises:
        ModelError: there is no such output, or its head was never trained.
    """
    head = next((name for name, one in heads.items() if output in one.outputs), None)
    if head is None:
        there = ", ".join(one for known in heads.values() for one in known.outputs)
        raise ModelError(f"audit: the model has no output {output!r}, expected one of {there}; give --positive")
    require_trained({head: heads[head]}, what="audit")
    column = heads[head].outputs.index(output)
    engine.place(network).eval()
    view = {"mean": numbers(prepared["mean"]), "std": numbers(prepared["std"])}

    @torch.inference_mode()
    def model(images: NDArray[Any]) -> Answer:
        parts = []
        for start in range(0, len(images), EVALUATION_BATCH):
            chunk = torch.from_numpy(np.ascontiguousarray(images[start : start + EVALUATION_BATCH]))
            with engine.autocast():
                maps = network.feature_map(evaluate_view(chunk.to(engine.device), images.shape[-1], **view))
                score = activate(network.classify(maps), heads)[head][:, column]
                features = maps.mean((2, 3)) if isinstance(network.head, MapHead) else network.pool(maps)
            parts.append((score.double().cpu().numpy(), features.double().cpu().numpy()))
        return Answer(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))

    return model


def questions(heads: Heads, extra: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a stored network is audited for: its positive class, else every class, else every finding.

    Raises:
        ModelError: it has none of these, only severities and values.
    """
    if extra.get("positive"):
        return (str(extra["positive"]),)
    classes = [head.outputs for head in heads.values() if head.one_label]
    findings = [head.outputs for head in heads.values() if head.kind == "probability" and not head.one_label]
    if not classes + findings:
        raise ModelError(f"audit: heads {', '.join(heads)} answer no yes-or-no question; register another network")
    return (classes + findings)[0]


def read_annotations(file: Path, manifest: pd.DataFrame, root: Path) -> dict[str, Any]:
    """Return what a table says of every row of a manifest: ``boxes`` on 0–1 ``[N, 4]`` (NaN: no marker) and ``sex``.

    The table has a column ``image`` (path relative to ``root``) and ``left, top, right, bottom`` (pixels of the raw
    file, blank without marker), ``sex``, or both.

    Raises:
        DataError: it has neither, a cell is no number, or it names none of the images.
    """
    entries = {entry["image"].strip(): (row, entry) for row, entry in read_table(file, ("image",))}
    columns = next(iter(entries.values()))[1].keys() if entries else ()
    has_boxes, attributes = set(BOX) <= set(columns), [name for name in ATTRIBUTES if name in columns]
    if not has_boxes and not attributes:
        raise DataError(f"{file}: expected columns {', '.join(BOX)}, or {', '.join(ATTRIBUTES)}; it has neither")
    found = [entries.get(path, (0, {})) for path in manifest["path"]]
    if not any(row for row, _ in found):
        raise DataError(f"{file}: names none of the images; its column image is the path below {root}")
    result: dict[str, Any] = {
        name: np.array([entry.get(name, "").strip() for _, entry in found], object) for name in attributes
    }
    if has_boxes:
        places = zip(manifest["path"], found, strict=True)
        result["boxes"] = np.array([_box(file, row, entry, root / path) for path, (row, entry) in places])
    return result


def _box(file: Path, row: int, entry: Mapping[str, str], image: Path) -> list[float]:
    cells = [entry.get(name, "").strip() for name in BOX]
    if not all(cells):
        return [np.nan] * 4
    try:
        left, top, right, bottom = map(float, cells)
    except ValueError as error:
        raise DataError(f"{file} row {row}: {', '.join(cells)}: expected four numbers of pixels or none") from error
    height, width = read_image(image, channels=1).shape[1:]
    return [left / width, top / height, right / width, bottom / height]


def _boxes(boxes: NDArray[np.float64], size: int, crop: int) -> Bits:
    """Return boxes on 0–1 as pixels of the cropped view ``[N, crop, crop]``, rounded outwards."""
    result = np.zeros((len(boxes), crop, crop), bool)
    offset = (size - crop) // 2
    for where, box in zip(result, boxes, strict=True):
        if not np.isnan(box).any():
            left, top = (max(int(np.floor(edge * size)) - offset, 0) for edge in box[:2])
            right, bottom = (max(int(np.ceil(edge * size)) - offset, 0) for edge in box[2:])
            where[top:bottom, left:right] = True
    return result


def _lungs(data: PackedDataset, rows: Rows, crop: int) -> Bits | None:
    places = data.manifest["mask_row"].to_numpy()[rows]
    if data.masks is None or (places < 0).all():
        return None
    result = np.zeros((len(rows), crop, crop), bool)
    result[places >= 0] = _centre(lungs(np.asarray(data.masks[places[places >= 0]])), crop)
    return result


def _centre(images: NDArray[Any], crop: int) -> NDArray[Any]:
    top, left = ((side - crop) // 2 for side in images.shape[-2:])
    return images[..., top : top + crop, left : left + crop]


def numbers(value: Any) -> tuple[float, ...]:
    """Return one number or several as a tuple: mean and standard deviation of ``preprocessing`` are either."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)
