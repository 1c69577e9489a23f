"""The images of ``medtransfer evaluate``: one file, a table, class folders, patients' folders, or a flat folder."""

import tempfile
from argparse import Namespace
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import pandas as pd

from medtransfer.data.add import scan_to_manifest
from medtransfer.data.dicom_header import frames_of
from medtransfer.data.given import Facts, file_facts
from medtransfer.data.images import Decoded
from medtransfer.data.packed import PackConfig, Prepared
from medtransfer.data.sources import CsvSource, ImageFolderSource, Scan
from medtransfer.data.sources.imagefolder import SPLIT_FOLDERS
from medtransfer.data.sources.listing import MASKS, THUMBNAILS, Skipped, images_below
from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.shift import Shift
from medtransfer.models.classifier import Classifier
from medtransfer.training.engine import Engine
from medtransfer.training.evaluating import answered, origins_of_lungs, pack_like_training, predict_network
from medtransfer.training.seen import Watched, look

MODALITY: Literal["CT"] = "CT"
"""Of a folder of images: none is natural, so each is of a patient, who is not known. Nothing else reads it here."""


def scan_unseen(options: Namespace, classes: Collection[str]) -> tuple[ImageFolderSource | CsvSource, Scan]:
    """List images that a model has never seen.

    Folders are labels if one of them is named like a class of the model, else each is a patient.

    Args:
        options: ``manifest``, or ``images`` and ``rename``.
        classes: labels that the model answers for.

    Raises:
        ConfigError: ``--rename`` has another form or names no folder.
        DataError: there is no such file or folder, or no image in it.
    """
    if options.manifest:
        table = CsvSource(root=options.manifest.parent, table=options.manifest.name, unknown="ignore")
        return table, table.scan()
    rename = dict(entry.partition("=")[::2] for entry in options.rename)
    if not all(rename.values()):
        raise ConfigError("--rename: expected FOLDER=CLASS")
    images: Path = options.images
    if images.is_file():
        return ImageFolderSource(root=images.parent, modality=MODALITY), _of_file(images)
    if not images.is_dir():
        raise DataError(f"{images}: there is no such folder or file; give --images an image or a folder of images")
    folder = ImageFolderSource(root=images, rename=rename, modality=MODALITY)
    paths, left_out = images_below(images)
    if rename or any(name in classes for path in paths for name in _label_folders(path)):
        return folder, folder.scan()
    return folder, _unlabelled(images, paths, left_out)


class Unseen(NamedTuple):
    """Images that a model has never seen, and what it makes of them."""

    manifest: pd.DataFrame
    skipped: list[Skipped]
    unanswered: str
    """Why labels are no answer to the network's question; empty where they are."""
    table: pd.DataFrame
    """Predictions."""
    lungs: list[str]
    """Where the lung mask of every image is from."""
    unlike: list[list[str]] | None
    """In what each image is unlike the training images; None where that is not available."""


class _Kept:
    """What is needed of every image, taken while it is decoded for the manifest."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared, self.facts = prepared, dict[str, Facts]()

    def __call__(self, path: str, image: Decoded) -> None:
        self.prepared.add(path, image)
        self.facts[path] = file_facts(image)


def read_unseen(
    source: ImageFolderSource | CsvSource,
    scan: Scan,
    model: Classifier,
    description: dict[str, Any],
    *,
    name: str,
    shift: Shift | None,
    engine: Engine,
) -> Unseen:
    """Decode every image once, in a temporary folder, and pass it through the network once.

    Args:
        source: what ``scan_unseen`` returned.
        scan: what it returned beside.
        model: the network.
        description: what ``load_model`` returned beside it.
        name: the model's address.
        shift: statistics of its training images.
        engine: device and precision.

    Raises:
        DataError: no image can be read, or a label is no class of the model.
    """
    preprocessing, watched = description["preprocessing"], Watched(model, shift.block if shift else "")
    config, dataset = PackConfig.of(preprocessing), source.root.resolve().name or "images"
    with tempfile.TemporaryDirectory() as temporary:
        kept = _Kept(Prepared(Path(temporary) / "prepared", len(scan.rows), config))
        manifest, skipped = scan_to_manifest(source, dataset, scan=scan, raw=config.window is not None, keep=kept)
        manifest, unanswered = answered(manifest.assign(split="test"), description)
        place, patients, prepared = Path(temporary) / "data", scan.patients, kept.prepared
        data = pack_like_training(manifest, source.root, place, description, patients=patients, prepared=prepared)
        table = predict_network(watched if shift else model, description, data, engine, name=name)
        lungs = origins_of_lungs(model, preprocessing, data)
        unlike = None
        if shift:
            facts = [kept.facts[path] for path in data.manifest["path"]]
            unlike = shift.unlike(look(model, preprocessing, data.images, features=watched.features, facts=facts))
    return Unseen(manifest, skipped, unanswered, table, lungs, unlike)


def _of_file(file: Path) -> Scan:
    rows = _rows(file.parent, file.name, "")
    return Scan(rows, [], (), patients="known" if len(rows) > 1 else "each_image")


def _rows(root: Path, path: str, patient: str) -> list[dict[str, str]]:
    """Return a row per frame of a file, all of one patient."""
    return [{"image_id": image, "patient_id": patient or path, "path": image} for image in frames_of(root, path)]


def _label_folders(path: str) -> tuple[str, ...]:
    """Return the folder that would be an image's class."""
    parts = PurePosixPath(path).parts[:-1]
    return parts[1:2] if parts and parts[0] in SPLIT_FOLDERS else parts[:1]


def _unlabelled(root: Path, paths: list[str], left_out: list[Skipped]) -> Scan:
    """Return images without labels; those in folders belong to a patient per folder."""
    aside = [path for path in paths if PurePosixPath(path).parts[0].lower() in MASKS | THUMBNAILS and "/" in path]
    left_out = left_out + [Skipped(path, None, "in a folder of masks or thumbnails") for path in aside]
    kept = [path for path in paths if path not in set(aside)]
    if not kept:
        first = f"; first: {left_out[0].file}: {left_out[0].reason}" if left_out else ""
        raise DataError(f"{root}: no image found, {len(left_out)} left out{first}; give --images a folder of images")
    patients = {path: path.rpartition("/")[0] for path in kept}
    rows = [row for path in kept for row in _rows(root, path, patients[path])]
    in_folders = all(patients.values())
    notes = (
        ["no folder is named like a class: images have no labels, and each folder is a patient"] if in_folders else []
    )
    return Scan(rows, left_out, (), patients="known" if in_folders else "each_image", notes=tuple(notes))
