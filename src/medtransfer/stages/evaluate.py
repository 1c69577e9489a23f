"""``medtransfer evaluate --model models:/name@alias --images DIR``: a registered model on new images."""

import os
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtransfer.data.add import scan_to_manifest
from medtransfer.data.sources import CsvSource, ImageFolderSource, Scan
from medtransfer.data.sources.base import is_image
from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.intervals import Interval
from medtransfer.evaluation.predictions import write_predictions
from medtransfer.files import read_json, write_json, write_text
from medtransfer.models.weights import load_model
from medtransfer.reporting.evaluation import evaluation_markdown
from medtransfer.tracking.registry import fetch_model
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.evaluating import (
    Metrics,
    asked_questions,
    pack_like_training,
    predict_network,
    score_questions,
)
from medtransfer.training.progress import console

PREDICTIONS, METRICS, REPORT = "predictions.parquet", "metrics.json", "report.md"
OWN = {"name", "images", "patients", "left_out", "trained_on"}
"""Keys by which the metrics of an earlier evaluation are told from another file of that name."""


def run(options: Namespace) -> None:
    """Pull the model, prepare the images as its training did, and write predictions, metrics and a short report."""
    _require_own(options.out)
    model, description = load_model(fetch_model(options.model))
    source, scan = _scan(options)
    name = source.root.name or "images"
    manifest, skipped = scan_to_manifest(source, name, scan=scan)
    manifest["split"] = "test"
    engine = Engine(HardwareConfig(precision="fp32"))
    with tempfile.TemporaryDirectory(dir=_made(options.out)) as temporary:
        data = pack_like_training(manifest, source.root, Path(temporary) / "data", description)
        table = predict_network(model, description, data, engine, name=options.model)
    positive = description["extra"]["positive"]
    asked = asked_questions(description["heads"], positive=positive)
    metrics = score_questions(table, asked)
    facts = {
        "name": name,
        "images": len(manifest),
        "patients": manifest["patient_id"].nunique(),
        "left_out": len(skipped),
        **({"positive_class": positive} if positive else {}),
        "trained_on": description["extra"]["dataset"],
    }
    write_json(options.out / METRICS, facts | _measured(metrics, list(asked)))
    write_predictions([table], options.out / PREDICTIONS)
    write_text(options.out / REPORT, evaluation_markdown(options.model, facts, metrics, asked=list(asked)))
    for question, found in metrics.items():
        metric, interval = next(iter(found.items()))
        about = f"{question}: " if len(asked) > 1 else ""
        value = f"{interval.value:.3f} ({interval.low:.3f} … {interval.high:.3f})"
        console.print(f"{about}{metric.replace('_', ' ').upper()} {value}", markup=False)
    console.print(f"{len(manifest)} images, {len(skipped)} left out; see {options.out / REPORT}")


def _require_own(folder: Path) -> None:
    """Refuse to write over files that no evaluation wrote: the folder is the user's, and may hold anything."""
    there = [name for name in (PREDICTIONS, METRICS, REPORT) if os.path.lexists(folder / name)]
    try:
        own = not there or set(read_json(folder / METRICS)) >= OWN
    except (OSError, ValueError, TypeError):
        own = False
    if not own:
        raise DataError(
            f"{folder / there[0]}: would be replaced but comes from no evaluation; move it away or give another --out"
        )


def _scan(options: Namespace) -> tuple[ImageFolderSource | CsvSource, Scan]:
    """List the pictures: a table, class folders, or one flat folder without labels."""
    if options.manifest:
        table = CsvSource(root=options.manifest.parent, table=options.manifest.name)
        return table, table.scan()
    rename = dict(entry.partition("=")[::2] for entry in options.rename)
    if not all(rename.values()):
        raise ConfigError("--rename: expected FOLDER=CLASS")
    if not options.images.is_dir():
        raise DataError(f"{options.images}: no such folder; give --images a folder of pictures")
    folder = ImageFolderSource(root=options.images, rename=rename)
    if any(path.is_dir() for path in options.images.iterdir()):
        return folder, folder.scan()
    files = sorted(path.name for path in options.images.iterdir() if is_image(path))
    if not files:
        raise DataError(f"{options.images}: no picture in it; give --images a folder of pictures")
    return folder, Scan([{"image_id": f, "patient_id": f, "path": f} for f in files], [], ())


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _measured(metrics: Mapping[str, Metrics], asked: Sequence[str]) -> dict[str, Any]:
    """Return ``metrics`` of a network that answers one question, of another ``by_output`` with those of each."""
    plain = {name: {key: _plain(value) for key, value in found.items()} for name, found in metrics.items()}
    return {"metrics": plain.get(asked[0], {})} if len(asked) == 1 else {"by_output": plain}


def _plain(interval: Interval) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in vars(interval).items()}
