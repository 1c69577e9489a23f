"""Linear probes on frozen features, scored on patients that they have not seen."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medtransfer.audit.cases import Bits, Floats
from medtransfer.evaluation.summary import NO_IDS

FOLDS = 5
SINGLE = "a single class"
STRENGTH = 1.0
"""Of the penalty, per feature, of standardised features: one number for all probes, chosen once (decisions.md)."""


def held_out(features: Sequence[Floats], labels: NDArray[np.int64], patients: NDArray[np.object_]) -> Floats:
    """Return the score of every class for every image ``[N, classes]``, from a probe fitted on other patients.

    Ridge regression on standardised features in folds that keep patients whole and the classes balanced. Several kinds
    of features are probed apart and their scores added.

    Args:
        features: kinds of features ``[N, values]``.
        labels: class numbers from 0 ``[N]``; every class has at least ``FOLDS`` patients.
        patients: ``[N]``.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    scores = np.zeros((len(labels), int(labels.max()) + 1))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for train, test in folds.split(labels, labels, groups=patients):
        for kind in features:
            scores[test] += fitted(kind[train], labels[train], kind[test], classes=scores.shape[1])
    return scores


def fitted(features: Floats, labels: NDArray[np.int64], asked: Floats, *, classes: int) -> Floats:
    """Fit a probe and return its scores of other images ``[asked, classes]``; the classes weigh the same."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    present = features.std(axis=0) > 1e-9
    if not present.any():
        return np.zeros((len(asked), classes))
    weight = 1.0 / np.bincount(labels, minlength=classes)[labels]
    probe = Ridge(STRENGTH * present.sum())
    targets = np.eye(classes)[labels]
    probe.fit(scaler.transform(features)[:, present], targets, sample_weight=weight * len(labels) / weight.sum())
    return np.asarray(probe.predict(scaler.transform(asked)[:, present])).reshape(len(asked), classes)


def enough(labels: NDArray[np.int64], patients: NDArray[np.object_], *, fewest: int) -> str:
    """Return why a probe cannot be scored; empty where it can: two classes, each with ``fewest`` known patients."""
    if "" in patients:
        return f"{NO_IDS}: which images are of one patient is not known"
    counts = [len(set(patients[labels == one])) for one in np.unique(labels)]
    if len(counts) < 2:
        return SINGLE
    return (
        "" if min(counts) >= fewest else f"too few patients: {min(counts)} in the smallest class, {fewest} are needed"
    )


def codes(values: NDArray[np.object_], patients: NDArray[np.object_], *, fewest: int) -> tuple[NDArray[np.int64], Bits]:
    """Return class numbers of an attribute ``[kept]`` and which images keep ``[N]``: those with a frequent value."""
    names = sorted({one for one in values if one and len(set(patients[values == one])) >= fewest})
    keep: Bits = np.isin(values, names) if names else np.zeros(len(values), bool)
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers[one] for one in values[keep]], np.int64), keep
