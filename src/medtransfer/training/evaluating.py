"""A stored network on images that it has never seen: prepared as for its training, predicted by its heads, scored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.data.loaders import Loader
from medtransfer.data.lungs import WHOLE, lung_origins
from medtransfer.data.packed import PackConfig, PackedDataset, Patients, Prepared, pack
from medtransfer.errors import DataError
from medtransfer.evaluation.cells import VALUES
from medtransfer.evaluation.intervals import Interval
from medtransfer.evaluation.scorecard import score_binary, score_multiclass
from medtransfer.evaluation.summary import patient_interval
from medtransfer.models.classifier import Classifier
from medtransfer.models.heads import Heads
from medtransfer.models.segmenters import segmenter
from medtransfer.training.auditing import question
from medtransfer.training.engine import Engine
from medtransfer.training.inference import predicted_rows
from medtransfer.training.loading import EVALUATION_BATCH
from medtransfer.training.seen import Watched

Metrics = dict[str, Interval]


def label_names(description: Mapping[str, Any]) -> set[str]:
    """Return the labels that a network answers for: its exclusive classes, or the class that it tells from all others.

    Args:
        description: what ``load_model`` returned beside the network.
    """
    names = {name for head in description["heads"].values() if head.one_label for name in head.outputs}
    return names | {told} if (told := _told_from_others(description)) else names


def answered(manifest: pd.DataFrame, description: Mapping[str, Any]) -> tuple[pd.DataFrame, str]:
    """Return a manifest in which labels answer a network that tells one class from all others, and a note.

    The class becomes a finding: 1 for images with its label, 0 for another label; without a label, what a column
    ``y_<class>`` says. A set without an image of the class keeps that column alone: whether its labels exclude the
    class is not known. The note says so; it is empty otherwise.

    Args:
        manifest: the images.
        description: what ``load_model`` returned beside the network.

    Raises:
        DataError: an image's label and its column contradict each other.
    """
    told = _told_from_others(description)
    labels, column = sorted(set(manifest["label"]) - {""}), f"y_{told}"
    if told and column.lower() in manifest:  # tables have findings in lower case
        manifest = manifest.rename(columns={column.lower(): column})
    if not told or not labels:
        return manifest, ""
    if told not in labels:
        return manifest, "" if column in manifest else (
            f"no image has the label {told!r} that the model tells from all others (labels: {', '.join(labels)}): no "
            f"metrics; name it with --rename, or give --manifest with a column {column} of 1 and 0"
        )
    asked = pd.Series(question(manifest, told, what="evaluate"), manifest.index)
    known = manifest.get(column, asked)
    if (differs := asked.notna() & known.notna() & (asked != known)).any():
        row = manifest[differs].iloc[0]
        raise DataError(
            f"image {row['image_id']}: label {row['label']!r} and {column} {row[column]:g} contradict each other; "
            "correct one of them"
        )
    return manifest.assign(**{column: asked.fillna(known)}), ""


def _told_from_others(description: Mapping[str, Any]) -> str:
    """Return the class that has an output of its own beside no others; empty where classes exclude each other."""
    positive = str(description["extra"].get("positive", ""))
    alone = {name for head in description["heads"].values() if not head.one_label for name in head.outputs}
    return positive if positive in alone else ""


def pack_like_training(
    manifest: pd.DataFrame,
    root: Path,
    out: Path,
    description: Mapping[str, Any],
    *,
    patients: Patients,
    prepared: Prepared | None = None,
) -> PackedDataset:
    """Pack images as those that the network was trained on.

    Labels are checked against the network's exclusive classes; a network without such classes reads no label.

    Args:
        manifest: the images.
        root: folder of their files.
        out: folder to make.
        description: what ``load_model`` returned beside the network.
        patients: whether the patients of the images are known.
        prepared: all of the images, where something else has decoded them.

    Raises:
        DataError: a label is no class of the network, or a file cannot be read.
    """
    exclusive = [head for head in description["heads"].values() if head.one_label]
    classes = tuple(name for head in exclusive for name in head.outputs)
    unknown = sorted(set(manifest["label"]) - {"", *classes}) if classes else []
    if unknown:
        raise DataError(
            f"{root}: label {unknown[0]!r} is not a class of the model ({', '.join(classes)}); name it with --rename"
        )
    meta = {"classes": classes, "patients": patients}
    pack(manifest, root, out, PackConfig.of(description["preprocessing"]), meta=meta, prepared=prepared)
    return PackedDataset.open(out)


def predict_network(
    model: Classifier | Watched, description: Mapping[str, Any], data: PackedDataset, engine: Engine, *, name: str
) -> pd.DataFrame:
    """Return the predictions table of every head on all images of a data set.

    Args:
        model: the network; watched, it keeps the features of the images in their order.
        description: what ``load_model`` returned beside it.
        data: images out of ``pack_like_training``.
        engine: device and precision.
        name: the model's address, the variant of the table.

    Raises:
        ModelError: a head was never trained.
    """
    prepared, heads = description["preprocessing"], description["heads"]
    loader = Loader(
        data,
        np.arange(len(data.manifest)),
        batch_size=EVALUATION_BATCH,
        crop=prepared["crop"],
        lungs=model.reads_lungs and reads_masks(prepared),
        segment=segmenter(prepared.get("segmenter", "")),
        seed=0,
        train=False,
        normalization=(tuple(prepared["mean"]), tuple(prepared["std"])),
        device=engine.device,
    )
    fit = description["extra"]["fit"]
    return predicted_rows(
        engine.place(model),
        heads,
        loader,
        engine,
        study=fit["study"],
        variant=name,
        condition=fit["condition"],
        seed=int(fit["seed"]),
    )


def reads_masks(prepared: Mapping[str, Any]) -> bool:
    """Whether a network with a map head was trained on lung masks; with none, the whole image is lung."""
    return bool(prepared.get("masks", "files") != "none")


def origins_of_lungs(model: Classifier, prepared: Mapping[str, Any], data: PackedDataset) -> list[str]:
    """Return where the lung mask of every image is from: ``file``, ``segmenter`` or ``whole image``.

    Empty for a network that reads no lung masks. Arguments as in :func:`predict_network`, ``prepared`` is the
    description's ``preprocessing``.
    """
    rows = np.arange(len(data.manifest))
    if not model.reads_lungs:
        return []
    segment = segmenter(prepared.get("segmenter", ""))
    return lung_origins(data, rows, segment) if reads_masks(prepared) else [WHOLE] * len(rows)


def asked_questions(heads: Heads, *, positive: str) -> dict[str, tuple[str, ...]]:
    """Return what can be scored of a network: name of the question → the outputs that answer it.

    Classes under a softmax are one question, named like their head, and of two classes the one about ``positive``; of
    more than two classes ``positive`` is a question of its own beside it. Every other output is its own question, also
    of exclusive classes with a sigmoid each, whose probabilities do not sum to one.

    Args:
        heads: what the outputs mean.
        positive: the class that the network was trained to tell from the others; empty when there is none.
    """
    asked: dict[str, tuple[str, ...]] = {}
    for name, head in heads.items():
        if head.activation != "softmax":
            asked |= {output: (output,) for output in head.outputs}
            continue
        if len(head.outputs) > 2 or positive not in head.outputs:
            asked[f"{name}: all classes"] = head.outputs
        if positive in head.outputs:
            asked[positive] = (positive,)
    return asked


def score_questions(table: pd.DataFrame, asked: Mapping[str, tuple[str, ...]]) -> dict[str, Metrics]:
    """Return the metrics of every question of which a target is known, with intervals over patients.

    Probabilities have the metrics of two classes at the threshold 0.5, several exclusive classes macro means,
    severities and values their errors and correlation.
    """
    parts = {name: table[table["output"].isin(outputs)] for name, outputs in asked.items()}
    return {name: _metrics(rows, asked[name]) for name, rows in parts.items() if rows["target"].notna().any()}


def _metrics(rows: pd.DataFrame, outputs: tuple[str, ...]) -> Metrics:
    if len(outputs) > 1:
        return score_multiclass(rows)
    if (rows["kind"] == "probability").all():
        return score_binary(rows, positive=outputs[0], threshold=0.5)
    known = rows[rows["target"].notna()]
    return {metric: patient_interval(metric, known["target"], known["score"], known["patient_id"]) for metric in VALUES}
