"""First half: does the data offer a shortcut? Probes on frozen features; nothing is trained but the probes' weights."""

import numpy as np

from medtransfer.audit.cases import Cases
from medtransfer.audit.changes import shuffle_patches
from medtransfer.audit.descriptors import statistics, thumbnail
from medtransfer.audit.probes import enough, held_out
from medtransfer.audit.rows import FEWEST, Row, auroc_row, unasked
from medtransfer.audit.verdicts import Half, conclude, judged


def offered(cases: Cases) -> Half:
    """Return how well the label is known without looking at the lungs, and the verdict.

    Judged are the source, the border, what is outside the lungs, and the presence of markers where their places are
    known: none of them shows the disease. A thumbnail and shuffled patches do; they are shown beside the others.
    """
    why = enough(cases.target, cases.patients, fewest=FEWEST)
    if why:
        return Half("cannot tell", why, ())
    rows = [_source(cases), _border(cases), _outside(cases), _markers(cases), _thumbnail(cases), _patches(cases)]
    return conclude(rows)


def _source(cases: Cases) -> Row:
    name, about = "source", "AUROC of the label from the name of the source alone"
    source = cases.attributes.get("source")
    if source is None or len(set(source) - {""}) < 2:
        return unasked(name, about, "fewer than two sources are known")
    names, numbers = np.unique(source.astype(str), return_inverse=True)
    scores = held_out([np.eye(len(names))[numbers]], cases.target, cases.patients)
    return judged(auroc_row(name, about, cases.target, scores, cases.patients))


def _border(cases: Cases) -> Row:
    about = "AUROC of the label from the border of the image alone, an eighth of the side wide, lungs left out"
    keep = cases.border
    scores = held_out([thumbnail(cases.grey, keep), statistics(cases.grey, keep)], cases.target, cases.patients)
    return judged(auroc_row("border", about, cases.target, scores, cases.patients))


def _outside(cases: Cases) -> Row:
    name, about = "outside the lungs", "AUROC of the label from everything but the lungs"
    some = cases.masked
    if cases.lungs is None or enough(cases.target[some], cases.patients[some], fewest=FEWEST):
        return unasked(name, about, "too few images have a lung mask")
    keep, grey = ~cases.wide_lungs[some], cases.grey[some]
    target, patients = cases.target[some], cases.patients[some]
    scores = held_out([thumbnail(grey, keep), statistics(grey, keep)], target, patients)
    return judged(auroc_row(name, about, target, scores, patients))


def _markers(cases: Cases) -> Row:
    name, about = "markers", "AUROC of the label from whether the image has an annotated marker"
    if cases.markers is None:
        return unasked(name, about, "no annotation says where markers are")
    present = cases.markers.any(axis=(1, 2)).astype(np.float64).reshape(-1, 1)
    score = held_out([present], cases.target, cases.patients)
    return judged(auroc_row(name, about, cases.target, score, cases.patients))


def _thumbnail(cases: Cases) -> Row:
    about = "AUROC of the label from a thumbnail of 32 × 32 pixels: what needs no detail"
    scores = held_out([thumbnail(cases.grey)], cases.target, cases.patients)
    return auroc_row("thumbnail", about, cases.target, scores, cases.patients)


def _patches(cases: Cases) -> Row:
    about = "AUROC of the label from shuffled patches: what needs no anatomy"
    grey = shuffle_patches(cases.grey[:, None], seed=0)[:, 0]
    scores = held_out([statistics(grey)], cases.target, cases.patients)
    return auroc_row("shuffled patches", about, cases.target, scores, cases.patients)
