"""Which images a gallery shows: as many correct as failed ones, of both answers, never chosen by score."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EACH = 2
"""Images of each kind: correct or failed, of the class in question or not."""


class Case(NamedTuple):
    """One image of a gallery: its place among the images, and whether the first network is right."""

    place: int
    correct: bool


def choose_cases(
    correct: NDArray[np.bool_], positive: NDArray[np.bool_], names: Sequence[str], patients: Sequence[str]
) -> list[Case]:
    """Return up to ``EACH`` correct and failed cases of each answer, correct ones first, each of another patient.

    Within a kind they are the first by name; a kind of which there is no image is left out.

    Args:
        correct: whether the first network's answer is right ``[N]``.
        positive: whether the image has the class or finding ``[N]``.
        names: image ids.
        patients: patient ids; images without one count as of different patients.
    """
    order = np.argsort(np.asarray(names, str), kind="stable")
    cases: list[Case] = []
    seen: set[str] = set()
    for is_correct in (True, False):
        for is_positive in (True, False):
            kind = [int(i) for i in order if correct[i] == is_correct and positive[i] == is_positive]
            for place in kind:
                if sum(case.place in kind for case in cases) == EACH:
                    break
                if not patients[place] or patients[place] not in seen:
                    seen.add(patients[place])
                    cases.append(Case(place, is_correct))
    return cases
