"""Where the numbers come from: data sets, the leak gate, and the run behind every fit, as tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from medtransfer.reporting.content import Column, Table, Text
from medtransfer.reporting.formatting import MISSING, is_missing, number

SPLITS = ("train", "val", "test")
SHOWN_PAIRS = 20
SHORT = 8


@dataclass(frozen=True)
class Origin:
    """What every report says of its pictures.

    Attributes:
        datasets: name → content of dataset.json, ``phantoms`` (bool), ``until`` (the last day before a chronological
            test split, or None), ``splits`` ``{split: {"images": n, "patients": n}}``.
        gate: content of gate.json.
        profile: name of the parameter profile.
    """

    datasets: Mapping[str, Mapping[str, Any]]
    gate: Mapping[str, Any]
    profile: str

    def parts(self) -> dict[str, Any]:
        """Return the parts ``origin``, ``phantoms`` and ``data`` of a report's content."""
        return {
            "origin": pictures(self.datasets, self.profile),
            "phantoms": any(meta["phantoms"] for meta in self.datasets.values()),
            "data": (datasets_table(self.datasets), *gate_tables(self.gate)),
        }


def pictures(datasets: Mapping[str, Mapping[str, Any]], profile: str) -> str:
    """Say in plain words which profile was run on which pictures; ``datasets`` as in :class:`Origin`."""
    drawn = [name for name, meta in datasets.items() if meta["phantoms"]]
    real = [name for name in datasets if name not in drawn]
    if not real:
        return (
            f"Profile “{profile}”. Every picture is a drawn phantom ({', '.join(drawn)}), none shows a patient: the "
            "numbers show that the method runs and what the comparison looks like; they are no medical finding."
        )
    phantoms = f" Drawn phantoms: {', '.join(drawn)}." if drawn else ""
    return f"Profile “{profile}”. Real pictures: {', '.join(real)}.{phantoms}"


def datasets_table(datasets: Mapping[str, Mapping[str, Any]]) -> Table:
    """Lay out the data sets: kind, images and patients a split, classes, size, licence, content hash."""
    columns = [Column(name, number=False) for name in ("Data set", "Pictures", "Classes")]
    columns += [Column(split, "images / patients") for split in SPLITS]
    columns += [Column(name, number=False) for name in ("Stored as", "Licence", "Source", "Content")]
    return Table(
        "datasets",
        "Data sets",
        "Images and patients of every split. A patient’s images stay together when a split is made.",
        tuple(columns),
        tuple(_dataset(name, meta) for name, meta in datasets.items()),
        tuple(f"{name}: {meta['known_overlaps']}" for name, meta in datasets.items() if meta.get("known_overlaps")),
    )


def gate_tables(gate: Mapping[str, Any]) -> list[Table]:
    """Lay out what the leak gate found and how well it finds planted copies; ``gate`` is the content of gate.json."""
    hits = tuple(
        (Text(hit["dataset_a"]), Text(hit["dataset_b"]), Text(hit["kind"]), Text(str(hit["pairs"])))
        for hit in gate["hits"]
    )
    pairs = tuple(f"{p['kind']}: {p['image_a']} ↔ {p['image_b']}" for p in gate["pairs"][:SHOWN_PAIRS])
    more = len(gate["pairs"]) - len(pairs)
    declared = tuple(f"Declared overlap, {name}: {text}" for name, text in gate["declared"].items())
    recall = tuple((Text(name.replace("_", " ")), Text(number(share))) for name, share in gate["recall"].items())
    names = ("Data set", "Data set", "Same", "Pairs")
    return [
        Table(
            "gate",
            "Leak gate: what stands in two splits",
            f"{gate['images']} images searched for patients, files, pixels and near-duplicates in two splits.",
            tuple(Column(name, number=name == "Pairs") for name in names),
            hits,
            (*declared, *pairs, *((f"… and {more} more pairs in gate.json",) if more > 0 else ())),
        ),
        Table(
            "recall",
            "Leak gate: what it would have found",
            f"Changed copies of {gate['planted']} of these pictures were planted; the share that the gate found.",
            (Column("Copy", number=False), Column("Share found")),
            recall,
        ),
    ]


def provenance_table(fits: pd.DataFrame) -> Table:
    """Lay out the run behind every fit; ``fits`` is the table of ``records.provenance``."""
    names = ("Run", "Run key", "Commit", "Tree", "Data", "Parameters", "Seconds")
    rows = tuple(
        (
            Text(fit.name),
            short(fit.run_key),
            short(fit.git_commit),
            Text(tree_state(fit.git_dirty)),
            digests(fit.data),
            short(fit.params_fingerprint),
            Text(number(fit.seconds, digits=1)),
        )
        for fit in fits.itertuples(index=False)
    )
    return Table(
        "runs",
        "The run behind every fit",
        "Every number above comes from these runs. Hover over a shortened value for the whole of it.",
        tuple(Column(name, number=name == "Seconds") for name in names),
        rows,
        (f"{len(fits)} runs, together {number(fits['seconds'].sum() / 60, digits=0)} minutes of fitting.",),
    )


def uncommitted(fits: pd.DataFrame) -> tuple[str, ...]:
    """Return a limit on fits that ran with uncommitted changes, if any did."""
    dirty = int(fits["git_dirty"].eq(True).sum())
    return (f"{dirty} of {len(fits)} fits ran with uncommitted changes in the working tree.",) if dirty else ()


def short(value: Any) -> Text:
    """Return the first digits of a hash with the whole of it on hovering."""
    return MISSING if is_missing(value) else Text(str(value)[:SHORT], hover=str(value))


def digests(value: str) -> Text:
    """Return ``name digest`` pairs with shortened digests and the whole of them on hovering."""
    parts = [entry.rpartition(" ") for entry in value.split(", ") if entry]
    return Text(", ".join(f"{name} {digest[:SHORT]}" for name, _, digest in parts) or MISSING.main, hover=value)


def tree_state(dirty: Any) -> str:
    """Return whether the working tree had uncommitted changes, in a word."""
    return "not recorded" if is_missing(dirty) else "uncommitted changes" if dirty else "clean"


def _dataset(name: str, meta: Mapping[str, Any]) -> tuple[Text, ...]:
    size, depth = meta["pack"]["size"], meta["pack"]["depth"]
    parts = [meta["splits"].get(split) for split in SPLITS]
    return (
        Text(name),
        Text("drawn phantoms" if meta["phantoms"] else "real"),
        Text(", ".join(meta["classes"])),
        *(Text(f"{part['images']} / {part['patients']}") if part else MISSING for part in parts),
        Text(f"{size} × {size}, {depth} bit", hover="side in pixels, bit depth"),
        Text(meta.get("licence") or "not stated"),
        Text(meta.get("citation") or "not stated"),
        short(meta["content_hash"]),
    )
