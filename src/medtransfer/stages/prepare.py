"""``medtransfer prepare DATASET``: publisher's layout → manifest → splits → packed arrays."""

from argparse import Namespace
from collections.abc import Sequence

import pandas as pd

from medtransfer import paths
from medtransfer.data.add import by_reason, decoded_classes, scan_to_manifest, unlisted
from medtransfer.data.dicom_header import windows_in_words
from medtransfer.data.packed import pack
from medtransfer.data.splits import assign_splits
from medtransfer.errors import DataError
from medtransfer.params import load_params
from medtransfer.training.progress import console

SHOWN = 10


def without(manifest: pd.DataFrame, paths_left_out: Sequence[str]) -> pd.DataFrame:
    """Return the manifest without some images.

    Raises:
        DataError: a path is not in the manifest.
    """
    unknown = set(paths_left_out) - set(manifest["path"])
    if unknown:
        raise DataError(f"exclude: {min(unknown)} is not an image of this data set; correct or remove it")
    return manifest[~manifest["path"].isin(paths_left_out)]


def run(options: Namespace) -> None:
    """Read every image once, split whole patients and write ``out/datasets/<name>``."""
    config = load_params().dataset(options.dataset)
    scan = config.source.scan()
    raw = config.pack.window is not None
    manifest, skipped = scan_to_manifest(config.source, options.dataset, scan=scan, raw=raw)
    windows = windows_in_words(manifest["window"], config.pack.window)
    for note in (*scan.notes, *([windows] if windows else [])):
        _say(f"{options.dataset}: {note}")
    skipped += unlisted(config.source, scan)
    for entry in skipped[:SHOWN]:
        _say(f"{options.dataset}: left out {entry.file}: {entry.reason}")
    if len(skipped) > SHOWN:
        _say(f"{options.dataset}: left out {len(skipped)} files in all")
        for count, reason in by_reason(skipped):
            _say(f"{count:>8} {reason}")
    split = assign_splits(without(manifest, config.exclude), config.split)
    meta = {
        "classes": decoded_classes(config.source, scan, manifest),
        "licence": config.source.licence,
        "citation": config.source.citation,
        "official_splits": scan.official_splits,
        "known_overlaps": scan.known_overlaps,
        "patients": scan.patients,
    }
    pack(split, config.source.root, paths.dataset(options.dataset), config.pack, meta=meta)
    counts = split.groupby(["split", "label"]).size()
    _say(f"{options.dataset}: " + ", ".join(f"{s} {label} {n}" for (s, label), n in counts.items()))


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
