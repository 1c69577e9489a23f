"""The gallery of a study: cases with every network's maps as one page, and the table of scores for the report."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from medtransfer.files import write_text
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import number
from medtransfer.reporting.page import render

ABOUT = (
    "The same test images under every network: the image, the heat of each explainer, and the heat over the image. "
    "Cases are the first by image id among those that the first network answers correctly, and among those that it "
    "fails, as many of both answers as there are; none was chosen by its map."
)
SCORES = {
    "pointing": "pointing",
    "overlap": "overlap",
    "in_lungs": "in the lungs",
    "deletion": "deletion ↓",
    "insertion": "insertion ↑",
    "head": "output layer",
    "weights": "all weights",
    "labels": "labels",
}
"""Field of a score → its column."""
TESTS = {"weights": "with all weights shuffled", "labels": "trained on permuted labels"}
"""Field of a sanity test → the other network whose maps it compares."""


class Run(Protocol):
    """Where the tracker has the run of a network."""

    @property
    def run_id(self) -> str:
        """Its id in the store."""

    @property
    def address(self) -> str:
        """Of its page; empty where the tracker did not answer."""


def write_gallery_page(
    folder: Path,
    source: Path,
    facts: Mapping[str, Any],
    runs: Sequence[Run],
    *,
    titles: Mapping[str, str],
    origin: str,
    phantoms: bool,
) -> None:
    """Write ``index.html``; all images are inside the page.

    Args:
        folder: of the page.
        source: folder with ``tiles/``.
        facts: content of gallery.json.
        runs: of the networks, in their order.
        titles: explainer → its title.
        origin: whether the images are real or drawn.
        phantoms: see origin.
    """
    names = list(dict.fromkeys(name for network in facts["networks"] for name in network["flat"]))
    cases = [_case(source, facts, runs, place, names, titles) for place in range(len(facts["cases"]))]
    kinds = [(kind, [case for case in cases if case["kind"] == kind]) for kind in ("correct", "failed")]
    page = render(
        "gallery.html",
        {},
        title=f"Maps for {facts['positive']} on {facts['dataset']}",
        about=ABOUT,
        origin=origin,
        phantoms=phantoms,
        warnings=failed_tests(facts, titles),
        bar=facts["bar"],
        groups_of_cases=kinds,
        positive=facts["positive"],
        explainers=[titles[name] for name in names],
        tables=[score_table(facts, titles), _runs(facts, runs)],
    )
    write_text(folder / "index.html", page)


def failed_tests(facts: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    """Return a sentence for every sanity test that a map fails."""
    return [
        f"Sanity test failed: {titles[row['explainer']]} of {network['title']} is like that of the network {other} "
        f"(rank correlation {row[test]:.2f}, limit {facts['alike']:g})."
        for network in facts["networks"]
        for row in network["scores"] or ()
        for test, other in TESTS.items()
        if row[test] is not None and row[test] > facts["alike"]
    ]


def score_table(facts: Mapping[str, Any], titles: Mapping[str, str]) -> Table:
    """Return the scores of explainers × networks; a single row that says why where there are none."""
    columns = (Column("Network", number=False), Column("Explainer", number=False), *map(Column, SCORES.values()))
    if facts["not_scored"]:
        rows = [(TableCell("—"), TableCell(facts["not_scored"]), *(TableCell("—") for _ in SCORES))]
    else:
        rows = [_scores(network, row, facts, titles) for network in facts["networks"] for row in network["scores"]]
    learnt = ", ".join(f"{one['twin']:.2f}" for one in facts["networks"] if one["twin"] is not None)
    intro = (
        f"{facts['scored']} test images with {facts['positive']}, the first by image id. Pointing: share of images "
        "whose hottest pixel is in a lesion (chance: the lesions’ share of the image); overlap: intersection ÷ union "
        "of lesions and as many of the hottest pixels; in the lungs: share of the heat (below it the lungs’ share of "
        "the image); deletion and insertion: area under the score as the hottest pixels are taken away or added. The "
        "last three are rank correlations with the maps of another network: its output layer shuffled, all weights "
        f"shuffled, trained on permuted labels. Above {facts['alike']:g} in one of the last two, a map fails the "
        "sanity test."
    )
    notes = [
        "Noise is a map of random numbers: the floor. Attention and rollout know no class, so a shuffled output layer "
        "does not change them. Maps of few cells agree easily: with 2 × 2 cells, by chance too. No intervals: the "
        "table describes these maps, it compares no two of them.",
        *([f"Share of permuted labels that the networks trained on them gave at the end: {learnt}."] if learnt else []),
    ]
    return Table("maps", "Maps scored", intro, columns, tuple(rows), tuple(notes))


def _scores(
    network: Mapping[str, Any], row: Mapping[str, Any], facts: Mapping[str, Any], titles: Mapping[str, str]
) -> tuple[TableCell, ...]:
    details = {"pointing": ("chance", row["chance"]), "in_lungs": ("area", row["lungs"])}
    cells = []
    for field in SCORES:
        fails = field in TESTS and row[field] is not None and row[field] > facts["alike"]
        name, value = details.get(field, ("", None))
        detail = "fails" if fails else f"{name} {number(value, digits=2)}" if value is not None else ""
        cells.append(TableCell(number(row[field], digits=2), detail))
    flat = f"{row['flat']} flat maps" if row["flat"] else ""
    return (TableCell(network["title"]), TableCell(titles.get(row["explainer"], row["explainer"]), flat), *cells)


def _case(
    source: Path,
    facts: Mapping[str, Any],
    runs: Sequence[Run],
    place: int,
    names: Sequence[str],
    titles: Mapping[str, str],
) -> dict[str, Any]:
    case = facts["cases"][place]
    rows = []
    for index, network in enumerate(facts["networks"]):
        given = network["answers"][place]
        cells = [_cell(source, network, index, place, name, titles[name]) for name in names]
        right = given["answer"] == case["truth"]
        rows.append(
            {"title": network["title"], "answer": given["answer"], "right": right, "score": f"{given['score']:.2f}"}
            | {"cells": cells, "run": runs[index]}
        )
    return {**case, "image": _png(source / "tiles" / f"{place}.png"), "rows": rows}


def _cell(source: Path, network: Mapping[str, Any], index: int, place: int, name: str, title: str) -> dict[str, str]:
    """Return a map and its overlay, or why there is nothing to see."""
    if name not in network["flat"]:
        return {"note": "does not fit this network"}
    if network["flat"][name][place]:
        return {"note": "no heat: nothing in this image speaks for the class"}
    stem = source / "tiles" / f"{place}-{index}-{name}"
    parts = {part: _png(Path(f"{stem}-{part}.png")) for part in ("map", "overlay")}
    return {"note": "", "name": title, **parts}


def _runs(facts: Mapping[str, Any], runs: Sequence[Run]) -> Table:
    """Return where the tracker has the same images."""
    rows = tuple(
        (
            TableCell(one["title"]),
            TableCell(
                " · ".join(str(one["fit"][key]) for key in ("variant", "condition")), f"seed {one['fit']['seed']}"
            ),
            TableCell(run.run_id),
            TableCell(", ".join(f"explanations/{kind}.png" for kind in one["sheets"])),
        )
        for one, run in zip(facts["networks"], runs, strict=True)
    )
    columns = tuple(Column(name, number=False) for name in ("Network", "Run", "Run id", "Artefacts of the run"))
    intro = (
        "The cases of each network are also artefacts of its run in the tracker. The links of the cases lead there; "
    )
    intro += "where the tracker is a database, make ui has to serve it."
    return Table("runs", "Runs", intro, columns, rows)


def _png(file: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
