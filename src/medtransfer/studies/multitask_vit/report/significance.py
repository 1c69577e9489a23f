"""Every network against the paper's model on the same images: DeLong's test by class, paired t-tests of the score."""

import math

import numpy as np

from medtransfer.evaluation.cells import Cell
from medtransfer.evaluation.compare import holm, paired_t_test
from medtransfer.evaluation.pairs import delong
from medtransfer.evaluation.predictions import Kind
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import labels, probability, signed
from medtransfer.studies.multitask_vit.report.results import Results, one_output

STARS = ((0.001, "**"), (0.05, "*"))
"""As in the paper: * p < 0.05, ** p < 0.001, where the main network is better."""
Row = tuple[str, str, float, float, bool]
"""Network, what is compared, difference (main − network), p, whether the main network is better."""


def significance_table(found: Results) -> Table:
    """Return the tests of the main network against every other that was predicted on the same images."""
    rows = [*_diagnosis(found), *_severity(found)]
    adjusted = holm([row[3] for row in rows])
    body = tuple(
        (
            TableCell(name),
            TableCell(what),
            TableCell(signed(gap) + stars(p, better=better)),
            TableCell(probability(p)),
            TableCell(probability(float(by))),
        )
        for (name, what, gap, p, better), by in zip(rows, adjusted, strict=True)
    )
    intro = (
        f"Difference: {found.main} − network. Scores are averaged over seeds: chance in training is not tested. "
        "AUROC: DeLong's test, variance of whole patients. Score: paired t-test of the squared error per patient. As "
        f"in the paper, * p < 0.05 and ** p < 0.001 where {found.main} is better; this p is not corrected."
    )
    columns = (*labels("Network", "What"), Column("Difference"), Column("p"), Column("p, Holm"))
    return Table("tests", f"Tests against {found.main}", intro, columns, body)


def stars(p: float, *, better: bool) -> str:
    """Return the paper's marks of a test in which the main network is better; empty where it is not."""
    return next((f" {mark}" for limit, mark in STARS if better and p < limit), "")


def squared_errors(cell: Cell) -> dict[str, float]:
    """Return the mean squared error of each patient, with the score averaged over seeds; of each image without ids."""
    target, scores, patients = cell.column(cell.outputs[0])
    known = ~np.isnan(cell.target[:, 0])
    names = patients if cell.patient_count is not None else cell.images[known]
    errors = (scores.mean(0) - target) ** 2
    return {str(name): float(errors[names == name].mean()) for name in dict.fromkeys(names)}


def _against_main(found: Results, kind: Kind) -> list[tuple[Cell, Cell]]:
    """Return the main network's cell of a kind with that of every other network."""
    main = found.cell(found.main, kind)
    return [] if main is None else [(main, other) for other in found.of(kind) if other.variant != main.variant]


def _diagnosis(found: Results) -> list[Row]:
    rows: list[Row] = []
    for main, other in _against_main(found, "probability"):
        for name in main.by_output:
            one = delong(one_output(main, name), one_output(other, name))
            rows.append((other.variant, f"AUROC of {name}", one.difference, one.p, one.difference > 0))
    return rows


def _severity(found: Results) -> list[Row]:
    rows: list[Row] = []
    for main, other in _against_main(found, "value"):
        a, b = squared_errors(main), squared_errors(other)
        both = sorted(a.keys() & b.keys())
        one = paired_t_test([a[name] for name in both], [b[name] for name in both])
        p = math.nan if main.patient_count is None else one.p
        rows.append((other.variant, "MSE of the score", one.difference, p, one.difference < 0))
    return rows
