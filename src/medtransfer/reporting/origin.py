"""Where the numbers come from, as tables: data sets, the leak gate, and the run behind every fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from medtransfer.evaluation.summary import NO_IDS
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import METRIC_TITLES, MISSING, is_missing, labels, number

SPLITS = ("train", "val", "test")
SHOWN_PAIRS = 20
SHORT = 8


@dataclass(frozen=True)
class Origin:
    """What every report says about its images.

    Attributes:
        datasets: name → content of dataset.json, ``phantoms`` (bool), ``until`` (the last day before a chronological
            test split, or None), ``splits`` ``{split: {"images": n, "patients": n}}``.
        gate: content of gate.json.
    """

    datasets: Mapping[str, Mapping[str, Any]]
    gate: Mapping[str, Any]

    def drawn(self, name: str) -> bool:
        """Whether the images of a data set are phantoms; one that is not known counts as real."""
        return bool(self.datasets.get(name, {}).get("phantoms", False))

    def parts(self, profile: str) -> dict[str, Any]:
        """Return the parts ``origin``, ``phantoms`` and ``data`` of a report's content; ``profile``: its name."""
        return {
            "origin": images_of(self.datasets, profile),
            "phantoms": any(meta["phantoms"] for meta in self.datasets.values()),
            "data": (datasets_table(self.datasets), *gate_tables(self.gate)),
        }


def images_of(datasets: Mapping[str, Mapping[str, Any]], profile: str) -> str:
    """Describe which profile was run on which images; ``datasets`` as in :class:`Origin`."""
    phantoms = [name for name, meta in datasets.items() if meta["phantoms"]]
    real = [name for name in datasets if name not in phantoms]
    if not real:
        return (
            f"Profile “{profile}”. Every image is a drawn phantom ({', '.join(phantoms)}); none shows a patient. The "
            "numbers show that the method runs and what the comparison looks like; they are not a medical finding."
        )
    also = f" Drawn phantoms: {', '.join(phantoms)}." if phantoms else ""
    return f"Profile “{profile}”. Real images: {', '.join(real)}.{also}"


def datasets_table(datasets: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the table of data sets: kind, images and patients per split, classes, size, licence, content hash."""
    counts = (Column(split, "images / patients") for split in SPLITS)
    columns = (*labels("Data set", "Images", "Classes"), *counts, *labels("Stored as", "Licence", "Source", "Content"))
    return Table(
        "datasets",
        "Data sets",
        "Images and patients of every split. Splits made here keep all images of a patient together.",
        columns,
        tuple(_dataset(name, meta) for name, meta in datasets.items()),
        tuple(f"{name}: {meta['known_overlaps']}" for name, meta in datasets.items() if meta.get("known_overlaps")),
    )


def gate_tables(gate: Mapping[str, Any]) -> list[Table]:
    """Return what the leak gate found and which planted copies it detects; ``gate`` is the content of gate.json."""
    hits = tuple(
        (TableCell(hit["dataset_a"]), TableCell(hit["dataset_b"]), TableCell(hit["kind"]), TableCell(str(hit["pairs"])))
        for hit in gate["hits"]
    )
    pairs = tuple(f"{p['kind']}: {p['image_a']} ↔ {p['image_b']}" for p in gate["pairs"][:SHOWN_PAIRS])
    more = len(gate["pairs"]) - len(pairs)
    declared = tuple(f"Declared overlap, {name}: {text}" for name, text in gate["declared"].items())
    recall = tuple(
        (TableCell(name.replace("_", " ")), TableCell(number(share))) for name, share in gate["recall"].items()
    )
    search = gate["search"]
    bounds = (
        f"Near search: {search['candidates']} candidates registered; {search['cut']} images had more than were compared"
    )
    names = ("Data set", "Data set", "Same", "Pairs")
    return [
        Table(
            "gate",
            "Leak gate: matches between splits",
            f"{gate['images']} images were searched for patients, files, pixels and near-duplicates in two splits.",
            tuple(Column(name, number=name == "Pairs") for name in names),
            hits,
            (
                f"{bounds}, {search['plain']} are plain.",
                *declared,
                *pairs,
                *((f"… and {more} more pairs in gate.json",) if more > 0 else ()),
            ),
        ),
        Table(
            "recall",
            "Leak gate: detection of planted copies",
            f"Altered copies of {gate['planted']} of these images were planted; the share that the gate found.",
            (*labels("Copy"), Column("Share found")),
            recall,
        ),
    ]


def provenance_table(fits: pd.DataFrame) -> Table:
    """Return the run behind every fit; ``fits`` is the table of ``records.provenance``."""
    names = ("Run", "Run key", "Commit", "Tree", "Data", "Parameters", "Seconds")
    rows = tuple(
        (
            TableCell(fit.name),
            short(fit.run_key),
            short(fit.git_commit),
            TableCell(tree_state(fit.git_dirty)),
            digests(fit.data),
            short(fit.params_fingerprint),
            TableCell(number(fit.seconds, digits=1)),
        )
        for fit in fits.itertuples(index=False)
    )
    return Table(
        "runs",
        "The run behind every fit",
        "Every number above comes from these runs. Hover over a shortened value to see it in full.",
        tuple(Column(name, number=name == "Seconds") for name in names),
        rows,
        (_time(fits["seconds"]),),
    )


def _time(seconds: pd.Series) -> str:
    """Return how many runs there are and how long they took together, and of how many that is not recorded."""
    if not (unknown := int(seconds.isna().sum())):
        return f"{len(seconds)} runs, together {number(seconds.sum() / 60, digits=0)} minutes of fitting."
    if unknown == len(seconds):
        return f"{len(seconds)} runs; the time of fitting is not recorded."
    minutes = number(seconds.sum() / 60, digits=0)
    return (
        f"{len(seconds)} runs; {len(seconds) - unknown} took {minutes} minutes of fitting, the others are not recorded."
    )


def champions_of(
    champions: Sequence[Mapping[str, Any]], fits: pd.DataFrame, named: Callable[[str, str], Mapping[str, str]]
) -> tuple[tuple[tuple[str, TableCell], ...], ...]:
    """Return the facts about registered models, with data, commit and run from the record of each model's fit.

    Args:
        champions: content of champions.json.
        fits: the table of ``records.provenance``.
        named: (variant, condition) → the study's names for their parts, by title.
    """
    return tuple(_champion(one, fits, named(one["variant"], one["condition"])) for one in champions)


def _champion(
    one: Mapping[str, Any], fits: pd.DataFrame, names: Mapping[str, str]
) -> tuple[tuple[str, TableCell], ...]:
    metric, alias = one["metric"].removeprefix("val/"), one["alias"]
    facts = [
        ("Model", TableCell(f"{one['model']}, version {one['version']} {f'@{alias}' if alias else '(candidate)'}")),
        *((title, TableCell(name)) for title, name in names.items()),
        ("Seed", TableCell(str(one["seed"]))),
        (f"Validation {METRIC_TITLES.get(metric, metric)}", TableCell(number(one["value"]))),
    ]
    for fit in fits[fits["run_key"] == one["run_key"]].itertuples():
        facts += [
            ("Run", TableCell(fit.name, hover=f"run key {fit.run_key}")),
            ("Commit", TableCell(short(fit.git_commit).main, tree_state(fit.git_dirty), str(fit.git_commit))),
            ("Data", digests(fit.data)),
            ("Parameters", short(fit.params_fingerprint)),
        ]
    return tuple(facts)


def uncommitted(fits: pd.DataFrame) -> tuple[str, ...]:
    """Return the limit that some fits ran with uncommitted changes, if any did."""
    dirty = int(fits["git_dirty"].eq(True).sum())
    return (f"{dirty} of {len(fits)} fits ran with uncommitted changes in the working tree.",) if dirty else ()


def short(value: Any) -> TableCell:
    """Return the first digits of a hash; the full hash appears on hovering."""
    return MISSING if is_missing(value) else TableCell(str(value)[:SHORT], hover=str(value))


def digests(value: str) -> TableCell:
    """Return ``name digest`` pairs with shortened digests; the full digests appear on hovering."""
    parts = [entry.rpartition(" ") for entry in value.split(", ") if entry]
    return TableCell(", ".join(f"{name} {digest[:SHORT]}" for name, _, digest in parts) or MISSING.main, hover=value)


def tree_state(dirty: Any) -> str:
    """Return the state of the working tree: ``clean``, ``uncommitted changes`` or ``not recorded``."""
    return "not recorded" if is_missing(dirty) else "uncommitted changes" if dirty else "clean"


def _dataset(name: str, meta: Mapping[str, Any]) -> tuple[TableCell, ...]:
    size, depth = meta["pack"]["size"], meta["pack"]["depth"]
    parts = [meta["splits"].get(split) for split in SPLITS]
    known = meta["patients"] == "known"
    return (
        TableCell(name),
        TableCell("drawn phantoms" if meta["phantoms"] else "real"),
        TableCell(", ".join(meta["classes"])),
        *(
            TableCell(f"{part['images']} / {part['patients'] if known else NO_IDS}") if part else MISSING
            for part in parts
        ),
        TableCell(f"{size} × {size}, {depth} bit", hover="side in pixels, bit depth"),
        TableCell(meta.get("licence") or "not stated"),
        TableCell(meta.get("citation") or "not stated"),
        short(meta["content_hash"]),
    )
