"""``medtransfer evaluate --model models:/name@alias --images DIR``: a registered model on new images."""

import os
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from medtransfer.data.add import scan_to_manifest
from medtransfer.data.loaders import without_lungs
from medtransfer.data.sources import CsvSource, ImageFolderSource, Scan
from medtransfer.data.sources.base import is_image
from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.intervals import Interval
from medtransfer.evaluation.predictions import write_predictions
from medtransfer.evaluation.summary import NO_IDS
from medtransfer.files import read_json, write_json, write_text
from medtransfer.models.weights import load_model
from medtransfer.reporting.evaluation import bounds_or_reason, evaluation_markdown
from medtransfer.tracking.fetching import fetch_model
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.evaluating import (
    Metrics,
    asked_questions,
    pack_like_training,
    predict_network,
    score_questions,
)
from medtransfer.training.progress import console

MODALITY: Literal["CT"] = "CT"
"""Of a folder of images: none is natural, so each is of a patient, who is not known. Nothing else reads it here."""
PREDICTIONS, METRICS, REPORT = "predictions.parquet", "metrics.json", "report.md"
OWN = {"name", "images", "patients", "left_out", "trained_on"}
"""Keys that distinguish the metrics of an earlier evaluation from another file of that name."""


def run(options: Namespace) -> None:
    """Fetch the model, prepare the images as in its training, and write predictions, metrics and a short report."""
    _require_own(options.out)
    model, description = load_model(fetch_model(options.model))
    source, scan = _scan(options)
    name = source.root.name or "images"
    raw = description["preprocessing"].get("window") is not None
    manifest, skipped = scan_to_manifest(source, name, scan=scan, raw=raw)
    manifest["split"] = "test"
    engine = Engine(HardwareConfig(precision="fp32"))
    with tempfile.TemporaryDirectory(dir=_create(options.out)) as temporary:
        data = pack_like_training(manifest, source.root, Path(temporary) / "data", description, patients=scan.patients)
        table = predict_network(model, description, data, engine, name=options.model)
    positive = description["extra"]["positive"]
    asked = asked_questions(description["heads"], positive=positive)
    metrics = score_questions(table, asked)
    facts = {
        "name": name,
        "images": len(manifest),
        "patients": manifest["patient_id"].nunique() if scan.patients == "known" else None,
        "left_out": len(skipped),
        **({"without_lung_mask": without_lungs(data, data.rows(labelled=False))} if model.reads_lungs else {}),
        **({"positive_class": positive} if positive else {}),
        "trained_on": description["extra"]["dataset"],
    }
    write_json(options.out / METRICS, facts | _measured(metrics, list(asked)))
    write_predictions([table], options.out / PREDICTIONS)
    write_text(options.out / REPORT, evaluation_markdown(options.model, facts, metrics, asked=list(asked)))
    for question, values in metrics.items():
        metric, interval = next(iter(values.items()))
        about = f"{question}: " if len(asked) > 1 else ""
        value = f"{interval.value:.3f} ({bounds_or_reason(interval)})"
        console.print(f"{about}{metric.replace('_', ' ').upper()} {value}", markup=False)
    if scan.patients != "known":
        console.print(
            f"{NO_IDS}: metrics have no interval; give --manifest with a column patient_id",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"{len(manifest)} images, {len(skipped)} left out; see {options.out / REPORT}")


def _require_own(folder: Path) -> None:
    """Refuse to overwrite files that no evaluation wrote: the folder is the user's and may hold anything."""
    existing = [name for name in (PREDICTIONS, METRICS, REPORT) if os.path.lexists(folder / name)]
    try:
        own = not existing or set(read_json(folder / METRICS)) >= OWN
    except (OSError, ValueError, TypeError):
        own = False
    if not own:
        raise DataError(
            f"{folder / existing[0]}: not from an evaluation and would be overwritten; move it or give another --out"
        )


def _scan(options: Namespace) -> tuple[ImageFolderSource | CsvSource, Scan]:
    """List the images: a table, class folders, or one flat folder without labels."""
    if options.manifest:
        table = CsvSource(root=options.manifest.parent, table=options.manifest.name)
        return table, table.scan()
    rename = dict(entry.partition("=")[::2] for entry in options.rename)
    if not all(rename.values()):
        raise ConfigError("--rename: expected FOLDER=CLASS")
    if not options.images.is_dir():
        raise DataError(f"{options.images}: there is no such folder; give --images a folder of images")
    folder = ImageFolderSource(root=options.images, rename=rename, modality=MODALITY)
    if any(path.is_dir() for path in options.images.iterdir()):
        return folder, folder.scan()
    files = sorted(path.name for path in options.images.iterdir() if is_image(path))
    if not files:
        raise DataError(f"{options.images}: there is no image in it; give --images a folder of images")
    return folder, Scan([{"image_id": f, "patient_id": f, "path": f} for f in files], [], ())


def _create(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _measured(metrics: Mapping[str, Metrics], asked: Sequence[str]) -> dict[str, Any]:
    """Return ``metrics`` for a network that answers one question, else ``by_output`` with the metrics of each."""
    plain = {name: {key: _plain(value) for key, value in values.items()} for name, values in metrics.items()}
    return {"metrics": plain.get(asked[0], {})} if len(asked) == 1 else {"by_output": plain}


def _plain(interval: Interval) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in vars(interval).items()}
