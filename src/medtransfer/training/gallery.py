"""The gallery of a study: chosen cases with every map as files, a sheet per run, and the table of scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.errors import DataError
from medtransfer.explain.cases import Case, choose_cases
from medtransfer.explain.explainers import TITLES
from medtransfer.explain.panels import write_panel
from medtransfer.explain.sanity import ALIKE
from medtransfer.explain.sheets import SheetRow, case_sheet
from medtransfer.explain.tiles import bar_colours, grey_tile, map_tile, overlay_tile, write_tile
from medtransfer.paths import FitPaths
from medtransfer.training.auditing import question
from medtransfer.training.engine import Engine
from medtransfer.training.explaining import BATCH, Subject, centre, open_subject, permuted_twin, score_maps
from medtransfer.training.loading import grey_images, open_dataset
from medtransfer.training.progress import console

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = "medtransfer-gallery-1"
SCORED = 24
"""Images on which maps are scored: with the class or finding, and with a mask."""
KINDS = {True: "correct", False: "failed"}


def write_gallery(
    folder: Path, networks: Mapping[str, FitPaths], *, dataset: str, positive: str, engine: Engine
) -> dict[str, Any]:
    """Write tiles and sheets of a study's networks into a folder; return the facts for ``gallery.json``.

    Args:
        folder: gets ``tiles/`` and ``sheets/``.
        networks: title → fit; the first decides which cases count as correct.
        dataset: the data set whose test images are shown.
        positive: class or finding that the maps explain.
        engine: device.

    Raises:
        DataError: no test image has a known answer.
        ModelError: a network has no such output.
    """
    data = open_dataset(dataset)
    asked = question(data.manifest, positive, what="explain")
    rows = data.rows("test", labelled=False)
    rows = rows[~np.isnan(asked[rows])]
    if not rows.size:
        raise DataError(f"{data.folder}: no test image has a label for {positive!r}; explain another class or finding")
    scored, why = _scored(data, rows, asked)
    facts: dict[str, Any] = {"format": FORMAT, "dataset": dataset, "positive": positive, "images": len(rows)}
    facts |= {"scored": len(scored), "not_scored": why, "alike": ALIKE, "bar": bar_colours(), "networks": []}
    cases: list[Case] = []
    for number, (title, fit) in enumerate(networks.items()):
        subject = open_subject(title, fit, positive, engine)
        if not number:
            cases = _cases(subject, data, rows, asked[rows] == 1)
            facts["cases"] = _originals(folder, subject, data, rows, asked, cases)
        entry = _shown(folder, number, subject, data, rows, cases, facts["cases"])
        if len(scored):
            twin = permuted_twin(subject, data, asked)
            entry |= {"scores": score_maps(subject, data, scored, twin), "twin": twin.fitted}
        facts["networks"].append(entry)
        console.print(f"explained {title}", markup=False)
    return facts


def _scored(data: PackedDataset, rows: Rows, asked: NDArray[np.float64]) -> tuple[Rows, str]:
    """Return the positives with a mask, the first by image id, or why there are none."""
    masked = data.manifest["mask_row"].to_numpy()[rows] >= 0
    chosen = rows[masked & (asked[rows] == 1)]
    why = "" if chosen.size else "not applicable: no test image with the class or finding has a lung mask"
    order = np.argsort(data.manifest["image_id"].to_numpy(object)[chosen].astype(str), kind="stable")
    return chosen[order][:SCORED], why


def answers(subject: Subject, data: PackedDataset, rows: Rows) -> tuple[list[str], NDArray[np.float32]]:
    """Return a network's answer in words and its score of the output in question, for some rows.

    The answer is the likeliest class of a head with one label, else whether the score is 0.5 or more.
    """
    chunks = np.split(rows, range(BATCH, len(rows), BATCH))
    scores = np.concatenate([subject.scores(subject.inputs(data, chunk)) for chunk in chunks])
    own = scores[:, subject.head.outputs.index(subject.output)]
    if subject.head.one_label:
        return [subject.head.outputs[best] for best in scores.argmax(1)], own
    return [_finding(subject.output, present=bool(score >= 0.5)) for score in own], own


def truths(subject: Subject, data: PackedDataset, rows: Rows, asked: NDArray[np.float64]) -> list[str]:
    """Return the true answers in the same words."""
    if subject.head.one_label:
        return [str(one) for one in data.manifest["label"].iloc[rows]]
    return [_finding(subject.output, present=bool(one == 1)) for one in asked[rows]]


def _finding(name: str, *, present: bool) -> str:
    return name if present else f"no {name}"


def _cases(subject: Subject, data: PackedDataset, rows: Rows, positive: NDArray[np.bool_]) -> list[Case]:
    asked = np.full(len(data.manifest), np.nan)
    asked[rows] = positive
    given, _ = answers(subject, data, rows)
    correct = np.array([a == b for a, b in zip(given, truths(subject, data, rows, asked), strict=True)])
    table = data.manifest.iloc[rows]
    return choose_cases(correct, positive, table["image_id"].tolist(), table["patient_id"].tolist())


def _originals(
    folder: Path,
    subject: Subject,
    data: PackedDataset,
    rows: Rows,
    asked: NDArray[np.float64],
    cases: Sequence[Case],
) -> list[dict[str, Any]]:
    """Write the grey image of every case and return what is known of it."""
    places = rows[[case.place for case in cases]]
    images = centre(grey_images(data, places), subject.view["crop"])
    entries = []
    for number, (case, row, image) in enumerate(zip(cases, places, images, strict=True)):
        write_tile(grey_tile(image), folder / "tiles" / f"{number}.png")
        name = str(data.manifest["image_id"].iloc[int(row)])
        truth = truths(subject, data, np.array([row]), asked)[0]
        entries.append({"image_id": name, "truth": truth, "kind": KINDS[case.correct]})
    return entries


def _shown(
    folder: Path,
    number: int,
    subject: Subject,
    data: PackedDataset,
    rows: Rows,
    cases: Sequence[Case],
    entries: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Write map and overlay of every case and explainer, and the sheets; return the network's entry."""
    places = rows[[case.place for case in cases]]
    heats = subject.heats(subject.inputs(data, places))
    images = centre(grey_images(data, places), subject.view["crop"])
    given, score = answers(subject, data, places)
    for place, image in enumerate(images):
        for name, heat in heats.items():
            stem = f"{place}-{number}-{name}"
            write_tile(map_tile(heat[place]), folder / "tiles" / f"{stem}-map.png")
            write_tile(overlay_tile(image, heat[place]), folder / "tiles" / f"{stem}-overlay.png")
    captions = [
        f"{entry['image_id']}\ntruth: {entry['truth']}\nanswer: {answer}\n{subject.output}: {one:.2f}"
        for entry, answer, one in zip(entries, given, score, strict=True)
    ]
    sheets = {}
    for kind in KINDS.values():
        own = [place for place, entry in enumerate(entries) if entry["kind"] == kind]
        if own:
            lines = [SheetRow(captions[p], images[p], [heat[p] for heat in heats.values()]) for p in own]
            sheets[kind] = f"sheets/{number}/{kind}.png"
            write_panel(_sheet(subject, kind, [*heats], lines), folder / sheets[kind])
    fit = {key: getattr(subject.fit, key) for key in ("study", "folder", "variant", "condition", "seed")}
    answered = [{"answer": a, "score": round(float(s), 4)} for a, s in zip(given, score, strict=True)]
    flat = {name: [not bool(one.any()) for one in heat] for name, heat in heats.items()}
    entry = {"title": subject.title, "fit": fit, "answers": answered, "flat": flat, "sheets": sheets}
    return {**entry, "scores": None, "twin": None}


def _sheet(subject: Subject, kind: str, names: Sequence[str], rows: Sequence[SheetRow]) -> "Figure":
    does = {"correct": "answers correctly", "failed": "fails"}[kind]
    return case_sheet(f"{subject.title} · cases that the first network {does}", [TITLES[name] for name in names], rows)
