"""``medtransfer evaluate --model models:/name@alias --images DIR``: a registered model on new images."""

import fcntl
import os
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import pandas as pd

from medtransfer import paths
from medtransfer.data.add import by_reason
from medtransfer.data.dicom_header import windows_in_words
from medtransfer.data.lungs import FILE, SEGMENTER, WHOLE, count_origins
from medtransfer.data.sources import Skipped
from medtransfer.errors import DataError
from medtransfer.evaluation.checks import UndefinedMetricWarning
from medtransfer.evaluation.intervals import Interval
from medtransfer.evaluation.predictions import write_predictions
from medtransfer.evaluation.shift import Shift, read_shift
from medtransfer.evaluation.summary import NO_IDS
from medtransfer.files import read_json, write_json, write_text
from medtransfer.models.classifier import Classifier
from medtransfer.models.weights import load_model
from medtransfer.reporting.evaluation import (
    answers,
    below_chance,
    bounds_or_reason,
    evaluation_markdown,
    unlike_facts,
    unlike_in_words,
)
from medtransfer.stages.unseen import read_unseen, scan_unseen
from medtransfer.tracking.columns import head_columns
from medtransfer.tracking.fetching import fetch_model
from medtransfer.tracking.gates import SHIFT
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.evaluating import (
    Metrics,
    asked_questions,
    label_names,
    score_questions,
)
from medtransfer.training.progress import console

PREDICTIONS, METRICS, REPORT, ANSWERS = "predictions.parquet", "metrics.json", "report.md", "predictions.csv"
OWN = {"name", "images", "patients", "left_out", "trained_on"}
"""Keys that distinguish the metrics of an earlier evaluation from another file of that name."""
UNKNOWN_PATIENTS = (
    f"{NO_IDS}: metrics have no interval; give --manifest with a column patient_id (each image counts as a patient)"
)
LUNGS = {FILE: "lung_masks_from_files", SEGMENTER: "lung_masks_from_segmenter", WHOLE: "without_lung_mask"}
"""Where a lung mask is from → the key that counts the images."""
SHOWN = 10
"""Images whose answer is also printed."""


def run(options: Namespace) -> None:
    """Fetch the model, prepare the images as in its training, and write predictions, metrics and a short report."""
    _require_own(options.out)
    folder = fetch_model(options.model)
    (model, description), shift = load_model(folder), read_shift(folder / SHIFT)
    with _alone(options.out):
        _write(options, evaluated(options, model, description, name=options.model, shift=shift))


class Evaluation(NamedTuple):
    """A model on images that it has never seen."""

    facts: dict[str, Any]
    """Name and number of the images, patients, and how many were left out."""
    metrics: dict[str, Metrics]
    """Question → metric → value with its interval; empty without labels."""
    asked: list[str]
    """All questions that the network answers."""
    predictions: pd.DataFrame
    """One row per image and output, with the target where it is known."""
    answers: pd.DataFrame
    """One row per image: file, probabilities, label."""
    left_out: list[Skipped]
    """Files that were not read, each with the reason."""
    warnings: list[str]
    """What a reader of the metrics has to know."""


def evaluated(
    options: Namespace, model: Classifier, description: dict[str, Any], *, name: str, shift: Shift | None
) -> Evaluation:
    """Return what a network makes of new images.

    Args:
        options: ``manifest``, or ``images`` and ``rename``, as ``scan_unseen`` takes them; ``precision``.
        model: the network.
        description: what ``load_model`` returned beside it.
        name: the model's address.
        shift: statistics of its training images; without, whether the images are like them is not available.

    Raises:
        DataError: there is no image, or a label is no class of the model.
    """
    heads, positive = description["heads"], description["extra"]["positive"]
    source, scan = scan_unseen(options, label_names(description))
    folder = source.root.resolve().name or "images"
    engine = Engine(HardwareConfig(precision=options.precision))
    read = read_unseen(source, scan, model, description, name=name, shift=shift, engine=engine)
    asked = asked_questions(heads, positive=positive)
    metrics = _scored(read.table, asked)
    known = scan.patients == "known"
    warnings = [
        *scan.notes,
        windows_in_words(read.manifest["window"], description["preprocessing"].get("window")),
        read.unanswered,
        *(below_chance(question, read.table, outputs) for question, outputs in asked.items() if len(outputs) == 1),
        _whole_images(read.lungs, description["preprocessing"]),
        _copies(read.manifest, description["extra"]["dataset"]),
        unlike_in_words(read.unlike),
        "" if known else UNKNOWN_PATIENTS,
    ]
    facts = {
        "name": folder,
        "images": len(read.manifest),
        "patients": read.manifest["patient_id"].nunique() if known else None,
        "left_out": len(read.skipped),
        **({LUNGS[origin]: count for origin, count in count_origins(read.lungs).items()} if read.lungs else {}),
        **({"positive_class": positive} if positive else {}),
        **unlike_facts(read.unlike),
        **({"precision": options.precision} if options.precision != "fp32" else {}),
        "trained_on": description["extra"]["dataset"],
    }
    stored = {head: one.model_dump() for head, one in heads.items()}
    columns = head_columns(stored, where=name)
    shown = answers(read.table, read.manifest, columns, lungs=read.lungs, unlike=read.unlike)
    return Evaluation(facts, metrics, list(asked), read.table, shown, read.skipped, [text for text in warnings if text])


def _scored(table: pd.DataFrame, asked: Mapping[str, tuple[str, ...]]) -> dict[str, Metrics]:
    with catch_warnings():
        simplefilter("ignore", UndefinedMetricWarning)  # the report says "not defined"
        return score_questions(table, asked)


def _write(options: Namespace, found: Evaluation) -> None:
    out = options.out
    facts, metrics, asked, table, shown, skipped, warnings = found
    left_out = {"left_out_files": [{"file": each.file, "reason": each.reason} for each in skipped]}
    write_json(out / METRICS, {**facts, **_measured(metrics, asked), "warnings": list(warnings), **left_out})
    write_predictions([table], out / PREDICTIONS)
    write_text(out / ANSWERS, shown.to_csv(index=False))
    reasons = [f"{count} × {reason}" for count, reason in by_reason(skipped)]
    page = evaluation_markdown(options.model, facts, metrics, asked=asked, warnings=warnings, left_out=reasons)
    write_text(out / REPORT, page)
    _say(shown.head(SHOWN).to_string(index=False, float_format="{:.3f}".format))
    if len(shown) > SHOWN:
        _say(f"… {len(shown) - SHOWN} more in {out / ANSWERS}")
    for question, values in metrics.items():
        metric, interval = next(iter(values.items()))
        about = f"{question}: " if len(asked) > 1 else ""
        value = "not defined" if interval.value != interval.value else f"{interval.value:.3f}"
        _say(f"{about}{metric.replace('_', ' ').upper()} {value} ({bounds_or_reason(interval)})")
    for warning in warnings:
        _say(f"note: {warning}")
    for reason in reasons:
        _say(f"left out {reason}")
    _say(f"{facts['images']} images, {len(skipped)} left out; see {out / REPORT}")


def _require_own(folder: Path) -> None:
    """Refuse to overwrite files that no evaluation wrote.

    Raises:
        DataError: the folder holds files of somebody else.
    """
    existing = [name for name in (PREDICTIONS, METRICS, REPORT, ANSWERS) if os.path.lexists(folder / name)]
    try:
        own = not existing or set(read_json(folder / METRICS)) >= OWN
    except (OSError, ValueError, TypeError):
        own = False
    if not own:
        raise DataError(
            f"{folder / existing[0]}: not from an evaluation and would be overwritten; move it or give another --out"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for one evaluation at a time.

    Raises:
        DataError: another process evaluates into the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise DataError(f"{folder}: another evaluation is writing here; wait, or give another --out") from error
    finally:
        os.close(handle)


def _whole_images(lungs: Sequence[str], prepared: Mapping[str, Any]) -> str:
    """Say of how many images the whole counts as lung; empty when each has a mask."""
    whole = sum(origin == WHOLE for origin in lungs)
    if not whole:
        return ""
    if prepared.get("masks") == "none":
        return "the network was trained without lung masks: the whole of every image counts as lung, masks are not read"
    name = prepared.get("segmenter", "")
    tried = f", and the segmenter {name} found no two lungs in them" if name else "; give --manifest with a column mask"
    return f"{whole} of {len(lungs)} images have no lung mask: their whole image counts as lung for the zones{tried}"


def _copies(manifest: pd.DataFrame, trained_on: str) -> str:
    """Say how many images are probably in the training data; empty when none is, or these are not here."""
    try:
        packed = paths.workspace() / paths.dataset(trained_on) / "manifest.parquet"
        known = pd.read_parquet(packed, columns=["pixel_sha", "phash", "split"])
    except (OSError, ValueError, KeyError):
        return ""
    known = known[known["split"] != "test"]
    same = manifest["pixel_sha"].isin(known["pixel_sha"]) | manifest["phash"].isin(known["phash"])
    if not same.any():
        return ""
    names = ", ".join(manifest["path"][same].iloc[:3]) + (", …" if same.sum() > 3 else "")
    return f"{same.sum()} images are probably copies of images that the model was trained on: {names}"


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _measured(metrics: Mapping[str, Metrics], asked: Sequence[str]) -> dict[str, Any]:
    """Return ``metrics`` for a network that answers one question, else ``by_output`` with the metrics of each."""
    plain = {name: {key: _plain(value) for key, value in values.items()} for name, values in metrics.items()}
    return {"metrics": plain.get(asked[0], {})} if len(asked) == 1 else {"by_output": plain}


def _plain(interval: Interval) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in vars(interval).items()}
