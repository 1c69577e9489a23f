"""Second half: does the model use a shortcut? Its scores on changed images, by source, and what its features tell."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.audit.cases import Bits, Cases, Floats
from medtransfer.audit.changes import exchange_surroundings, fill, lenders, occlude, shuffle_patches
from medtransfer.audit.markers import DETECTOR, find_text
from medtransfer.audit.probes import SINGLE, codes, enough, fitted, held_out
from medtransfer.audit.rows import FEWEST, Row, auroc_row, excess_row, loss_row, strata_row, unasked
from medtransfer.audit.verdicts import DIFFERENCE, Half, conclude, judged


@dataclass(frozen=True)
class Answer:
    """What a model says of N images: the score of the question ``[N]`` and, where they are known, its features."""

    score: Floats
    features: Floats | None = None


Model = Callable[[NDArray[Any]], Answer]
"""From images ``[N, C, h, w]``, as in ``Cases``, to the model's answer."""


def used(cases: Cases, answer: Answer, model: Model | None) -> Half:
    """Return what the model's score depends on, and the verdict.

    Judged are changes whose result is known for a model that uses no shortcut, whatever it makes of an unusual image:
    its score does not follow the surroundings of another image, says nothing on an image without lungs, loses nothing
    when a marker is covered, and is no better over all sources than within one.

    Args:
        cases: the images.
        answer: of the unchanged images.
        model: predicts changed images; ``None`` when only predictions are known.
    """
    why = enough(cases.target, cases.patients, fewest=FEWEST)
    if not why and np.ptp(answer.score) == 0:
        why = f"the model gives every image the same score, {answer.score[0]:.3g}"
    if why:
        return Half("cannot tell", why, ())
    own = auroc_row("model", "AUROC of the model itself", cases.target, answer.score, cases.patients)
    rows = [own, *_sources(cases, answer)]
    doubt = "" if own.low is not None and own.low > 0.5 else "the model does not answer the question on these images"
    if model is None:
        doubt = "only predictions are known: what the model does with changed images cannot be told"
    else:
        rows += _changed(cases, answer, model)
    if answer.features is not None:
        rows += _refitted(cases, answer.features) + _readable(cases, answer.features)
    return conclude(rows, doubt=doubt)


def _sources(cases: Cases, answer: Answer) -> list[Row]:
    """Return the model's score within each source, and what pairs of two sources add to it."""
    name, about = "between sources", "AUROC over all pairs of images − AUROC over pairs of one source"
    source = cases.attributes.get("source")
    if source is None or len(set(source) - {""}) < 2:
        return [unasked(name, about, "fewer than two sources are known")]
    rows = []
    for one in sorted(set(source) - {""}):
        at, title = source == one, "AUROC of the model within one source"
        few = enough(cases.target[at], cases.patients[at], fewest=1)
        own = unasked("", "", few) if few else auroc_row("", "", cases.target[at], answer.score[at], cases.patients[at])
        rows.append(Row(f"source {one}", title, own.value, own.low, own.high, int(at.sum()), None, own.reason))
    known = source != ""
    parts = cases.target[known], answer.score[known], cases.patients[known], source[known]
    mixed = [one for one in set(source[known]) if len(set(cases.target[source == one])) == 2]
    if not mixed:
        why = "every source holds a single class: using the source and knowing the disease look the same"
        return [*rows, Row(name, about, images=int(known.sum()), sign="cannot tell", reason=why)]
    return [*rows, judged(excess_row(name, about, *parts), DIFFERENCE)]


def _changed(cases: Cases, answer: Answer, model: Model) -> list[Row]:
    target, patients = cases.target, cases.patients
    order = lenders(cases, seed=0)
    follows = strata_row(
        "surroundings of another image",
        "AUROC with which the score of an image follows the label of another image whose surroundings it has: all "
        "outside both lungs, or the border where there is no mask; 0.5 for a model that does not look there",
        target[order],
        model(exchange_surroundings(cases, order)).score,
        patients[order],
        target,
    )
    border = model(fill(cases.images, np.asarray(cases.border))).score
    shuffled = model(shuffle_patches(cases.images, seed=0)).score
    return [
        judged(follows),
        *_without_lungs(cases, answer, model),
        _markers(cases, answer, model),
        auroc_row("border masked", "AUROC of the model on images without border", target, border, patients),
        auroc_row("patches shuffled", "AUROC of the model on images of shuffled patches", target, shuffled, patients),
    ]


def _without_lungs(cases: Cases, answer: Answer, model: Model) -> list[Row]:
    name, about = (
        "lungs masked",
        "AUROC of the model on images with even lungs; 0.5 for a model that reads lungs alone",
    )
    some = cases.masked
    if cases.lungs is None or enough(cases.target[some], cases.patients[some], fewest=FEWEST):
        return [unasked(name, about, "too few images have a lung mask")]
    score = model(fill(cases.images[some], cases.wide_lungs[some])).score
    if np.ptp(score) == 0:
        return [unasked(name, about, "the model gives every image without lungs the same score")]
    return [judged(auroc_row(name, about, cases.target[some], score, cases.patients[some]))]


def _markers(cases: Cases, answer: Answer, model: Model) -> Row:
    """Cover annotated markers, which is judged; else what the text detector finds, which is not: it errs."""
    about = "AUROC of the model − its AUROC with markers covered"
    known = cases.markers is not None
    boxes: Bits = find_text(cases.grey, cases.wide_lungs) if cases.markers is None else cases.markers
    name = "markers covered" if known else f"markers covered ({DETECTOR})"
    count = int(boxes.any(axis=(1, 2)).sum())
    if not count:
        return unasked(name, about, "there is no marker" if known else "the detector finds no text")
    covered = answer.score.copy()
    there = boxes.any(axis=(1, 2))
    covered[there] = model(occlude(cases.images[there], boxes[there])).score
    row = loss_row(name, f"{about}, in {count} images", cases.target, (answer.score, covered), cases.patients)
    return judged(row, DIFFERENCE) if known else row


def _refitted(cases: Cases, features: Floats) -> list[Row]:
    """Return how well a probe on the features that has never seen a source answers the question there."""
    source, rows = cases.attributes.get("source"), []
    about = "AUROC in this source of a probe on the model’s features, fitted on the other sources"
    for one in sorted(set(source if source is not None else ()) - {""}):
        at = source == one
        few = [enough(cases.target[part], cases.patients[part], fewest=FEWEST) for part in (at, ~at)]
        if any(few):
            rows.append(unasked(f"refitted without {one}", about, next(filter(None, few))))
            continue
        score = fitted(features[~at], cases.target[~at], features[at], classes=2)
        rows.append(auroc_row(f"refitted without {one}", about, cases.target[at], score, cases.patients[at]))
    return rows


def _readable(cases: Cases, features: Floats) -> list[Row]:
    """Return how well source, view and sex can be read from the features, over all images and within each class."""
    rows = []
    for name, values in cases.attributes.items():
        for title, at in (
            ("", np.ones(len(cases), bool)),
            (", positives", cases.target == 1),
            (", negatives", cases.target == 0),
        ):
            about = f"AUROC (mean over values) of the {name} from the model’s features"
            labels, keep = codes(values[at], cases.patients[at], fewest=FEWEST)
            few = enough(labels, cases.patients[at][keep], fewest=FEWEST)
            if few == SINGLE:
                few = f"fewer than two values of {name} have {FEWEST} patients each"
            if few:
                rows.append(unasked(f"{name} readable{title}", about, few))
                continue
            patients = cases.patients[at][keep]
            scores = held_out([features[at][keep]], labels, patients)
            rows.append(auroc_row(f"{name} readable{title}", about, labels, scores, patients))
    return rows
