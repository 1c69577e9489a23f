"""``medtransfer evaluate --model models:/name@alias --images DIR``: a registered model on new pictures."""

import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.data.add import scan_to_manifest
from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackConfig, PackedDataset, pack
from medtransfer.data.sources import CsvSource, ImageFolderSource, Scan
from medtransfer.data.sources.base import is_image
from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.intervals import Interval
from medtransfer.evaluation.predictions import prediction_rows, write_predictions
from medtransfer.evaluation.scorecard import score_binary
from medtransfer.files import write_json, write_text
from medtransfer.models.weights import load_model
from medtransfer.reporting.evaluation import evaluation_markdown
from medtransfer.tracking.registry import fetch_model
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.inference import predict
from medtransfer.training.loading import EVALUATION_BATCH
from medtransfer.training.progress import console
from medtransfer.training.task import SupervisedTask


def run(options: Namespace) -> None:
    """Pull the model, prepare the pictures as its training did, and write predictions, metrics and a short report."""
    model, description = load_model(fetch_model(options.model))
    classes = tuple(description["classes"])
    source, scan = _scan(options)
    name = source.root.name or "images"
    manifest, skipped = scan_to_manifest(source, name, scan=scan)
    manifest["split"] = "test"
    with tempfile.TemporaryDirectory(dir=_made(options.out)) as temporary:
        data = _packed(manifest, source.root, Path(temporary) / "data", description["preprocessing"], classes)
        table = _predict(SupervisedTask(model), data, description, options.model)
    positive = description["extra"]["positive"]
    rows = table[table["output"] == positive]
    metrics = score_binary(rows, positive=positive, threshold=0.5) if rows["target"].notna().any() else None
    facts = {
        "name": name,
        "images": len(manifest),
        "patients": manifest["patient_id"].nunique(),
        "left_out": len(skipped),
        "positive_class": positive,
        "trained_on": description["extra"]["dataset"],
    }
    write_predictions([table], options.out / "predictions.parquet")
    write_json(options.out / "metrics.json", facts | {"metrics": {k: _plain(m) for k, m in (metrics or {}).items()}})
    write_text(options.out / "report.md", evaluation_markdown(options.model, facts, metrics))
    if metrics:
        console.print(f"AUROC {metrics['auroc'].value:.3f} ({metrics['auroc'].low:.3f} … {metrics['auroc'].high:.3f})")
    console.print(f"{len(manifest)} images, {len(skipped)} left out; see {options.out / 'report.md'}")


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


def _packed(
    manifest: pd.DataFrame, root: Path, out: Path, preprocessing: dict[str, Any], classes: tuple[str, ...]
) -> PackedDataset:
    unknown = sorted(set(manifest["label"]) - {"", *classes})
    if unknown:
        raise DataError(
            f"{root}: label {unknown[0]!r} is not a class of the model ({', '.join(classes)}); name it with --rename"
        )
    config = PackConfig.model_validate({key: preprocessing[key] for key in PackConfig.model_fields})
    pack(manifest, root, out, config, meta={"classes": classes})
    return PackedDataset.open(out)


def _predict(task: SupervisedTask, data: PackedDataset, description: dict[str, Any], model: str) -> pd.DataFrame:
    """Return the predictions table of every class."""
    engine = Engine(HardwareConfig(precision="fp32"))
    engine.place(task.module)
    prepared, classes = description["preprocessing"], list(description["classes"])
    loader = Loader(
        data,
        np.arange(len(data.manifest)),
        batch_size=EVALUATION_BATCH,
        crop=prepared["crop"],
        seed=0,
        train=False,
        normalization=(tuple(prepared["mean"]), tuple(prepared["std"])),
        device=engine.device,
    )
    found = predict(task, loader, engine)
    one_hot = np.eye(len(classes))[found["target"]]
    one_hot[found["target"] < 0] = np.nan
    extra = description["extra"]["variant"]
    return prediction_rows(
        data.manifest.iloc[found["index"]],
        found["probability"],
        one_hot,
        outputs=classes,
        kind="probability",
        study=extra["study"],
        variant=model,
        condition=extra["chain"],
        seed=extra["seed"],
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _plain(interval: Interval) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in vars(interval).items()}
