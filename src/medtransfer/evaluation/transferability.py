"""How well a source model's own outputs predict the target labels before anything is fine-tuned: LEEP, NCE, LogME.

All three need one forward pass of the source model over labelled target images. They are in natural units (nats);
LEEP is also given in bits, because the values of Liu & Ji 2021, Table 6, are below what nats allow on two classes.
A score only predicts the gain from fine-tuning: report its ``ranks.rank_correlation`` with the true gain as well.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtransfer.errors import DataError
from medtransfer.evaluation.checks import Floats, Ints

_ROWS = 64
"""Rows computed at once: a thousand single-precision probabilities of each fit in a second-level cache."""
_SUM_TOLERANCE = 1e-3
_RANK = 1e-12
"""Share of the largest eigenvalue of the Gram matrix below which a direction of the features is rounding noise."""
_RESIDUAL = 1e-9
"""Least share of a label vector outside the features: labels wholly inside them would have unbounded evidence."""
_RATIO = 1e10
"""LogME's ratio α/β, relative to the largest eigenvalue, is searched between the inverse of this and this."""


@dataclass(frozen=True)
class Leep:
    """LEEP in nats, its two lower bounds, and the number of source labels that never got any probability."""

    nats: float
    minus_label_entropy: float
    """−H(Y): what a constant source model scores."""
    minus_conditional_entropy: float
    """−H(Y|Z) of the source model's mean probabilities; ``0 ≥ LEEP ≥ −H(Y|Z) ≥ −H(Y)``."""
    dropped: int

    @property
    def bits(self) -> float:
        """The same in bits."""
        return self.nats / math.log(2)


@dataclass(frozen=True)
class TransferScore:
    """Scores of one source model on one labelled target set, entropies in nats: one row of the study's score table.

    If the source has no labels of its own, everything that needs them is None, and ``unavailable`` says why.
    """

    images: int
    leep_nats: float | None
    leep_bits: float | None
    nce: float | None
    logme: float
    minus_label_entropy: float
    minus_conditional_entropy: float | None
    source_labels: int
    dropped_source_labels: int
    absent_target_labels: int
    unavailable: str


def transfer_score(
    features: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike | None,
    *,
    classes: int,
    unavailable: str = "",
) -> TransferScore:
    """Score a source model by its features and probabilities on target images.

    A source without labels has no probabilities: LEEP and NCE are then unavailable, LogME is still available.

    Args:
        features: ``[images, width]`` pooled features.
        labels: ``[images]`` target class numbers.
        probabilities: ``[images, source labels]`` of the source model's own head, or None.
        classes: classes of the target task; those that no image has are counted.
        unavailable: why there are no probabilities.

    Example:
        scores = transfer_score(features, labels, probabilities, classes=2)
        scores.leep_bits, scores.logme

    Raises:
        DataError: a number is not finite, probabilities do not sum to one, shapes differ, the labels are not class
            numbers or hold fewer than two classes, or probabilities are missing without a reason.
    """
    target = _class_numbers(labels)
    if target.max() >= classes:
        raise DataError(f"labels hold class number {target.max()}, expected numbers below {classes}; check the classes")
    if (probabilities is None) != bool(unavailable):
        raise DataError("transfer score: expected source probabilities, or the reason why there are none; pass one")
    scores = None if probabilities is None else leep(probabilities, target)
    return TransferScore(
        images=len(target),
        leep_nats=scores.nats if scores else None,
        leep_bits=scores.bits if scores else None,
        nce=None if probabilities is None else nce(np.argmax(probabilities, 1), target),
        logme=logme(features, target),
        minus_label_entropy=_minus_label_entropy(target),
        minus_conditional_entropy=scores.minus_conditional_entropy if scores else None,
        source_labels=0 if probabilities is None else np.shape(probabilities)[1],
        dropped_source_labels=scores.dropped if scores else 0,
        absent_target_labels=classes - len(np.unique(target)),
        unavailable=unavailable,
    )


def leep(probabilities: ArrayLike, labels: ArrayLike) -> Leep:
    """Log expected empirical prediction (Nguyen et al. 2020, Eq. 1–2; Liu & Ji 2021, Eq. 7).

    ``P(y, z) = 1/n Σ_{i: y_i = y} θ(x_i)_z``, ``LEEP = 1/n Σ_i log Σ_z P(y_i | z) θ(x_i)_z``. A source label that gets
    no probability on any image has no ``P(y | z)``; it adds nothing and is dropped. Target classes that do not occur
    change nothing.

    Args:
        probabilities: ``[images, source labels]``, rows sum to one; float32 is multiplied in float32, in blocks that
            are added up in float64 (within 1e-8 nats of float64 throughout), anything else in float64.
        labels: ``[images]`` target class numbers.

    Raises:
        DataError: see :func:`transfer_score`.
    """
    theta, target = np.asarray(probabilities), _class_numbers(labels)
    if theta.ndim != 2 or len(theta) != len(target):
        raise DataError(
            f"probabilities have shape {theta.shape}, expected ({len(target)}, source labels): pass one row per label"
        )
    theta = theta if theta.dtype == np.float32 else theta.astype(np.float64, copy=False)
    present, target = np.unique(target, return_inverse=True)
    joint = _joint(theta, target, len(present))
    source = joint.sum(0)
    known = source > 0
    conditional = np.divide(joint, source, out=np.zeros_like(joint), where=known).astype(theta.dtype)
    total = 0.0
    for rows in _blocks(len(theta)):
        expected = theta[rows] @ conditional.T
        total += float(np.log(expected[np.arange(len(expected)), target[rows]], dtype=np.float64).sum())
    return Leep(
        nats=total / len(theta),
        minus_label_entropy=_minus_label_entropy(target),
        minus_conditional_entropy=_minus_conditional_entropy(joint),
        dropped=int((~known).sum()),
    )


def nce(source_labels: ArrayLike, labels: ArrayLike) -> float:
    """Negative conditional entropy −H(Y|Z) in nats, of target labels given predicted source labels (Tran et al. 2019).

    Args:
        source_labels: ``[images]`` the source model's most probable label of each image.
        labels: ``[images]`` target class numbers.

    Raises:
        DataError: see :func:`transfer_score`.
    """
    target, source = _class_numbers(labels), np.asarray(source_labels)
    if source.shape != target.shape:
        raise DataError(f"source labels have shape {source.shape}, expected {target.shape}: pass one label per image")
    _, z = np.unique(source, return_inverse=True)
    joint = np.zeros((int(target.max()) + 1, int(z.max()) + 1))
    np.add.at(joint, (target, z), 1 / len(target))
    return _minus_conditional_entropy(joint)


def logme(features: ArrayLike, labels: ArrayLike) -> float:
    """Logarithm of maximum evidence per image (You et al. 2021, Alg. 3), mean over one-hot classes, in nats.

    The largest ``log p(y | F) / n`` of Bayesian linear regression over the precisions α of weights and β of noise. For
    a ratio ``t = α/β`` the best β is ``n / (Σ x² t/(t + σ) + r)``, so the evidence depends on ``t`` alone and is
    maximised directly: with one maximum, the fixed point of the paper's iteration (α and β in turn) is the same; with
    several, that fixed point depends on the scale of the features. σ are the eigenvalues of the Gram matrix, x the
    labels along its eigenvectors, r the squared rest of the labels outside them.

    Args:
        features: ``[images, width]``.
        labels: ``[images]`` target class numbers; classes that do not occur do not count.

    Raises:
        DataError: see :func:`transfer_score`.
    """
    matrix, target = np.asarray(features, np.float64), _class_numbers(labels)
    if matrix.ndim != 2 or len(matrix) != len(target):
        raise DataError(f"features have shape {matrix.shape}, expected ({len(target)}, width): pass one row per label")
    wrong = np.flatnonzero(~np.isfinite(matrix).all(1))
    if wrong.size:
        raise DataError(f"features at row {wrong[0]} are not finite: expected numbers; check the source weights")
    one_hot = (target[:, None] == np.unique(target)).astype(np.float64)
    sigma, squares = _directions(matrix, one_hot)
    return float(
        np.mean([_evidence(sigma, x, len(target), y.sum()) for x, y in zip(squares.T, one_hot.T, strict=True)])
    )


def _class_numbers(labels: ArrayLike) -> Ints:
    """Return labels ``[images]`` as int64; at least two classes occur."""
    numbers = np.asarray(labels)
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer) or (numbers.size and numbers.min() < 0):
        raise DataError("labels: expected one class number per image, from 0 on; leave out images without a class")
    if len(np.unique(numbers)) < 2:
        raise DataError(f"labels hold {len(np.unique(numbers))} classes: a score needs two; check the split")
    return numbers.astype(np.int64)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, count, _ROWS))


def _joint(theta: NDArray[np.floating], target: Ints, classes: int) -> Floats:
    """Return ``P(y, z) [classes, source labels]``; every row is checked while it is in the cache."""
    joint, ones = np.zeros((classes, theta.shape[1])), np.ones(theta.shape[1], theta.dtype)
    numbers = np.arange(classes)[:, None]
    for rows in _blocks(len(theta)):
        block = theta[rows]
        with np.errstate(invalid="ignore", over="ignore"):  # a row that is not finite is reported below
            sums = block @ ones
        summed = np.abs(sums - 1) <= _SUM_TOLERANCE  # False for NaN
        if not summed.all() or block.min() < 0:
            wrong = int(np.flatnonzero(~summed | (block.min(1) < 0))[0])
            raise DataError(
                f"row {rows.start + wrong} holds no probabilities (sum {sums[wrong]:g}, least {block[wrong].min():g}): "
                "expected numbers from 0 to 1 that sum to one; pass softmax outputs, not logits"
            )
        joint += (numbers == target[rows]).astype(theta.dtype) @ block
    return joint / len(theta)


def _minus_label_entropy(target: Ints) -> float:
    """Return −H(Y) in nats of class numbers ``[images]``."""
    share = np.unique(target, return_counts=True)[1] / len(target)
    return float((share * np.log(share)).sum())


def _minus_conditional_entropy(joint: Floats) -> float:
    """Return −H(Y|Z) in nats of a joint distribution ``[Y, Z]``."""
    source = np.broadcast_to(joint.sum(0), joint.shape)
    some = joint > 0
    return float((joint[some] * np.log(joint[some] / source[some])).sum())


def _directions(matrix: Floats, one_hot: Floats) -> tuple[Floats, Floats]:
    """Return eigenvalues ``[rank]`` of the Gram matrix over the largest one, and squared labels ``[rank, classes]``.

    The smaller of the two Gram matrices is decomposed; the evidence does not depend on the scale of the features.
    """
    count, width = matrix.shape
    gram = matrix @ matrix.T if count <= width else matrix.T @ matrix
    values, vectors = np.linalg.eigh(gram)
    significant = values > _RANK * max(values[-1], np.finfo(float).tiny)
    values, vectors = values[significant], vectors[:, significant]
    along = one_hot if count <= width else matrix.T @ one_hot
    squares = (vectors.T @ along) ** 2
    if count > width:
        squares /= values[:, None]
    return values / values.max(initial=0.0), squares


def _evidence(sigma: Floats, squares: Floats, count: int, length: float) -> float:
    """Return the largest evidence per image of one label vector with squared ``length``, by zooming in on ``t``."""
    residual, low, high = max(length - squares.sum(), _RESIDUAL * length), 1 / _RATIO, _RATIO
    for _ in range(4):  # 20 decades in steps of a fifth, then fifty times finer each time
        t = np.geomspace(low, high, 101)[:, None]
        spread = (squares * (t / (sigma + t))).sum(1) + residual
        twice = count * (np.log(count / spread) - 1 - math.log(2 * math.pi)) - np.log1p(sigma / t).sum(1)
        best = int(np.argmax(twice))
        low, high = t[max(best - 1, 0), 0], t[min(best + 1, len(t) - 1), 0]
    return float(twice[best]) / 2 / count
