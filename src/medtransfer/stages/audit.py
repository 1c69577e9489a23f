"""``medtransfer audit STUDY`` or ``--model models:/name@alias --manifest FILE``: shortcuts in data and in models."""

import re
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medtransfer import paths
from medtransfer.audit.cases import Cases
from medtransfer.audit.offered import offered
from medtransfer.audit.record import add_audit, audit_entry, audit_tag
from medtransfer.audit.used import Answer, Model, used
from medtransfer.data.add import scan_to_manifest
from medtransfer.data.packed import PackConfig, PackedDataset, Rows, pack
from medtransfer.data.sources import CsvSource
from medtransfer.data.sources.base import read_table
from medtransfer.errors import ConfigError, DataError
from medtransfer.models.classifier import Classifier
from medtransfer.models.weights import load_model
from medtransfer.params import load_params
from medtransfer.stages.audit_study import audit_study, write_audit_page
from medtransfer.tracking.fetching import fetch_model, note_audit
from medtransfer.training.auditing import cases_of, network_model, read_annotations
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.loading import open_dataset

ELSEWHERE = PackConfig(size=224, channels=1)
"""How images are packed for a model of which only predictions are known: no network reads them."""


class Images(NamedTuple):
    """The images of an audit: packed, which rows, where the raw files are, and how many were left out."""

    data: PackedDataset
    rows: Rows
    root: Path
    name: str
    left_out: int
    phantoms: bool


def run(options: Namespace) -> None:
    """Audit the candidates of a study, or one model on one set of images: add it to ``--out`` and write its page."""
    if options.study:
        audit_study(options.study)
        return
    if not options.manifest and not options.dataset:
        raise ConfigError("audit: on which images? Give --manifest FILE or --dataset NAME")
    network, description = (
        (None, {}) if options.predictions else load_model(options.weights or fetch_model(options.model))
    )
    entry, images = audited(options, network, description)
    add_audit(options.out, entry)
    if options.model:
        note_audit(options.model, audit_tag(entry))
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", f"audit-{entry['name']}-{entry['dataset']}").strip("-")
    title = f"Audit of {entry['name']} on {entry['dataset']}"
    write_audit_page(paths.report(slug[: paths.LONGEST]), [entry], title=title, phantoms=images.phantoms)


def audited(
    options: Namespace, network: Classifier | None, description: dict[str, Any]
) -> tuple[dict[str, Any], Images]:
    """Return the entry of an audit, and its images.

    Args:
        options: of the command line, but ``out`` and ``study``.
        network: nothing where only predictions are known.
        description: what ``load_model`` returned beside it, else empty.

    Raises:
        ConfigError: no class is asked about.
        DataError: no image has an answer to the question.
    """
    positive = options.positive or (description["extra"].get("positive", "") if description else "")
    if not positive:
        raise ConfigError("audit: which class or finding is the question? The model names none; give --positive")
    with tempfile.TemporaryDirectory() as temporary:
        images = _images(options, description, Path(temporary) / "data")
        cases, rows = _cases(options, description, images, positive)
        model: Model | None = None
        if network is None:
            answer = Answer(_scores(options.predictions, images.data, rows))
        else:
            engine = Engine(HardwareConfig(precision="fp32"))
            model = network_model(network, description["heads"], description["preprocessing"], engine, positive)
            answer = model(cases.images)
        halves = offered(cases), used(cases, answer, model)
    entry = audit_entry(
        *halves,
        cases,
        name=options.model or (options.weights or options.predictions).as_posix(),
        weights=description.get("sha256"),
        dataset=images.name,
        positive=positive,
        left_out=images.left_out + len(images.rows) - len(rows),
    )
    return entry, images


def _cases(options: Namespace, description: dict[str, Any], images: Images, positive: str) -> tuple[Cases, Rows]:
    notes = read_annotations(options.annotations, images.data.manifest, images.root) if options.annotations else None
    crop = description["preprocessing"]["crop"] if description else images.data.meta.size
    return cases_of(images.data, images.rows, positive=positive, crop=crop, annotations=notes)


def _images(options: Namespace, description: dict[str, Any], folder: Path) -> Images:
    """Open a prepared data set's test images, or pack those of a table as the model's training images were."""
    prepared = description.get("preprocessing", {})
    config = PackConfig.of(prepared) if prepared else ELSEWHERE
    if options.dataset:
        settings, data = load_params().dataset(options.dataset), open_dataset(options.dataset)
        if prepared and data.meta.pack != config:
            raise DataError(
                f"{data.folder}: packed as {data.meta.pack}, the model reads {config}; audit with --manifest"
            )
        return Images(data, data.rows("test"), settings.source.root, options.dataset, 0, settings.phantoms)
    source = CsvSource(root=options.manifest.parent, table=options.manifest.name)
    scan = source.scan()
    manifest, skipped = scan_to_manifest(source, source.root.name or "images", scan=scan)
    pack(manifest, source.root, folder, config, meta={"patients": scan.patients})
    data = PackedDataset.open(folder)
    held = data.rows("test") if (manifest["split"] == "test").any() else data.rows()
    return Images(data, held, source.root, source.root.name or "images", len(skipped), phantoms=False)


def _scores(file: Path, data: PackedDataset, rows: Rows) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the scores of a table with the columns ``image`` and ``score`` in the order of the rows.

    Raises:
        DataError: an image has no score, or one that is no number.
    """
    table = {entry["image"].strip(): (row, entry["score"]) for row, entry in read_table(file, ("image", "score"))}
    scores = []
    for path in data.manifest["path"].iloc[rows]:
        row, cell = table.get(path, (0, ""))
        try:
            scores.append(float(cell))
        except ValueError as error:
            where = f"row {row}: score {cell!r}" if row else f"there is no row for image {path}"
            raise DataError(f"{file}: {where}; expected a number for every image of the manifest") from error
    return np.array(scores)
