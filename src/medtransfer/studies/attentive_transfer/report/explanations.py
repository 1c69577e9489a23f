"""What the networks look at and what self-supervision reads: the figures of the explain stage and their scores."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medtransfer.reporting.content import Column, Figure, Table, TableCell
from medtransfer.reporting.formatting import labels, listed, number
from medtransfer.reporting.images import embedded
from medtransfer.reporting.records import Fit, last_values
from medtransfer.studies.attentive_transfer.titles import chain_title, network_title

_METHODS = {"grad_cam": "Grad-CAM", "attention": "attention"}


def explanation_figures(folder: Path, facts: Mapping[str, Any], fits: Iterable[Fit]) -> list[Figure]:
    """Return the figures of the explain stage as images inside the page.

    Args:
        folder: ``results/explanations`` of the study.
        facts: content of its explanations.json.
        fits: the fits; records of self-supervised fits state how many of their slices show no lungs.
    """
    maps = (
        f"The same {len(facts['shown'])} test images, chosen by name and not by score, {_chains(facts)}, seed "
        f"{facts['seed']}: Grad-CAM of the plain network, then Grad-CAM and attention of the network with most ATTN. "
        "Brighter means more important; each map is scaled to its own range. The paper shows the last ATTN layer."
    )
    regions = facts["regions"]
    boxes = (
        f"Training slices of {regions['dataset']}: the detected outline of the lungs, the box around them, the five "
        f"named regions, and the crops. In {regions['without_lungs']} of {regions['images']} slices no lungs were "
        f"detected; the whole slice is used instead. {_recorded(fits)}"
    )
    return [
        Figure("figure4", "Fig. 4 · What the networks look at", maps, _image(folder / "figure4.png", maps)),
        Figure("regions", "Lobe regions", boxes, _image(folder / "regions.png", boxes)),
    ]


def _chains(facts: Mapping[str, Any]) -> str:
    """Name the chain of the explained networks, or each of several."""
    chains = dict.fromkeys(map(chain_title, facts["chains"].values()))
    return f"{'chain' if len(chains) == 1 else 'each network’s longest chain:'} {listed(chains)}"


def _recorded(fits: Iterable[Fit]) -> str:
    """State in how many of their slices the self-supervised fits detected no lungs, as the fits recorded it."""
    recorded = (last_values(folder) for _, folder in fits)
    regions = [values for values in recorded if "data/without_lungs" in values]
    counts = Counter((int(values["data/without_lungs"]), int(values["data/images"])) for values in regions)
    if not counts:
        return "No fit of this report recorded this number."
    shares = [
        f"{without} of {images} in {count} fit{'s' * (count > 1)}"
        for (without, images), count in sorted(counts.items())
    ]
    return f"Recorded by the fits that use regions: {', '.join(shares)}."


def explanation_tables(facts: Mapping[str, Any]) -> list[Table]:
    """Return how well the heat maps hit regions and how well boxes cover lobes; for the data only if masks exist."""
    tables = [] if facts["scores"] is None else [_heat_table(facts)]
    if facts["regions"]["coverage"] is not None:
        tables.append(_coverage_table(facts["regions"]))
    return [*tables, _phantom_table(facts["phantoms"], used=facts["regions"]["boxes"])]


def _heat_table(facts: Mapping[str, Any]) -> Table:
    names = ("energy", "area", "ratio", "pointing")
    rows = tuple(
        (
            TableCell(network_title(row["network"])),
            TableCell(_METHODS.get(row["name"], row["name"]), row["layer"]),
            TableCell(row["region"]),
            *(TableCell(number(row[name])) for name in names),
            *(TableCell(str(row[name])) for name in ("images", "flat")),
        )
        for row in facts["scores"]
    )
    return Table(
        "heat",
        "Where the heat is",
        f"Test images, {_chains(facts)}. Energy: share of the heat inside the region; area: share "
        "of the image that the region covers; ratio: energy ÷ area, 1 is chance; pointing: share of the images whose "
        "hottest position is inside. All explanations of a network are scored on the same images: those that show the "
        "region and for which every explanation has a map.",
        (*labels("Network", "Explanation", "Region"), *map(Column, (*names, "images", "flat maps"))),
        rows,
        (
            "Flat maps, which show nothing, are counted over the images with the region. Grad-CAM is flat if no "
            "position supports the class. An explanation that is flat on every image removes none from the others.",
        ),
    )


def _coverage_table(regions: Mapping[str, Any]) -> Table:
    return Table(
        "coverage",
        "How much of each lobe its box covers",
        f"Share of a lobe’s pixels inside its box, over the training slices that show the lobe. {_BOXES}",
        (*labels("Boxes"), *_lobes(regions["coverage"])),
        tuple(_shares(table, shares, regions["boxes"]) for table, shares in regions["coverage"].items()),
    )


def _phantom_table(phantoms: Mapping[str, Any], *, used: str) -> Table:
    """Return the coverage on phantom slices: one row per pose of the patient and table of boxes."""
    rows = tuple(
        (TableCell(_POSES[pose]), *_shares(table, shares, used))
        for pose, tables in phantoms["coverage"].items()
        for table, shares in tables.items()
    )
    return Table(
        "coverage-phantoms",
        "How much of each lobe its box covers, on phantoms",
        f"On {phantoms['slices']} drawn slices of each kind, for any data set: their lobes are known. {_BOXES}",
        (*labels("Patient", "Boxes"), *_lobes(next(iter(phantoms["coverage"].values())))),
        rows,
    )


def _shares(table: str, shares: Mapping[str, float | None], used: str) -> tuple[TableCell, ...]:
    values = (TableCell(number(share, digits=2)) for share in shares.values())
    return (TableCell(table, "used here" if table == used else ""), *values)


def _lobes(coverage: Mapping[str, Mapping[str, float | None]]) -> list[Column]:
    return [Column(lobe) for lobe in next(iter(coverage.values()))]


_BOXES = (
    "“axial” was made for axial slices; “reference” stacks the lobes as in a coronal image. Boxes overlap, so a large "
    "share does not prove that a box shows only its lobe."
)
_POSES = {"upright": "lies straight", "tilted": "turned by more than 8°", "collapsed": "one lobe collapsed"}


def _image(file: Path, caption: str) -> str:
    return embedded(file.read_bytes(), caption)
