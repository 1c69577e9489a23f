"""Supervised losses: single-label cross-entropy and multi-label binary cross-entropy with unknown labels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from medtransfer.errors import DataError
from medtransfer.losses.precision import at_least_single


def cross_entropy(
    logits: Float[Tensor, "batch classes"],
    target: Int[Tensor, " batch"],
    *,
    label_smoothing: float = 0.0,
    class_weight: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy in nats, in single precision at least.

    With smoothing s the target distribution is (1 - s) on the true class plus s / classes everywhere (Szegedy et al.
    2016, section 7). With class weights the mean is weighted by the weight of each row's true class.

    Args:
        logits: scores before the softmax.
        target: class numbers, 0 ... classes - 1.
        label_smoothing: 0 (none) to 1.
        class_weight: one non-negative weight per class.
    """
    scores = at_least_single(logits)
    weight = None if class_weight is None else class_weight.to(scores)
    return F.cross_entropy(scores, target, weight=weight, label_smoothing=label_smoothing)


def masked_bce(
    logits: Float[Tensor, "batch findings"],
    targets: Float[Tensor, "batch findings"],
    weight: Float[Tensor, "#batch #findings"] | None = None,
) -> Float[Tensor, ""]:
    """Return the (weighted) mean binary cross-entropy in nats over the known targets.

    A NaN target means *not known*: it adds nothing to the value and nothing to the gradient. When no target of the
    batch is known, both are exactly 0.

    Args:
        logits: scores before the sigmoid.
        targets: 1, 0 or NaN; soft targets between are allowed.
        weight: non-negative, one per entry, row or finding; the result is divided by the known entries' weights.
    """
    scores, labels = at_least_single(logits), at_least_single(targets)
    known = ~labels.isnan()
    share = known.to(scores.dtype) if weight is None else known * weight.to(scores)
    # NaN is replaced before the logarithm: 0 x NaN would still be NaN in the gradient
    losses = F.binary_cross_entropy_with_logits(scores, torch.where(known, labels, 0.0), weight=share, reduction="sum")
    total = share.sum()
    return losses / torch.where(total > 0, total, 1.0)


def balanced_class_weight(target: Int[Tensor, " images"], classes: int) -> Float[Tensor, " classes"]:
    """Return images ÷ (classes × images of the class): every class counts the same in ``cross_entropy``.

    Raises:
        DataError: a class has no image.
    """
    counts = torch.bincount(target, minlength=classes)
    _require_cases(counts, "class number")
    return len(target) / (classes * counts)


def positive_weight(targets: Float[Tensor, "images findings"]) -> Float[Tensor, " findings"]:
    """Return negatives ÷ positives among the known targets: both sides of a finding count the same in ``masked_bce``.

    Raises:
        DataError: a finding has no positive or no negative image.
    """
    positives, negatives = (targets == 1).sum(0), (targets == 0).sum(0)
    _require_cases(positives, "positives of finding number")
    _require_cases(negatives, "negatives of finding number")
    return negatives / positives


def _require_cases(counts: Int[Tensor, " classes"], what: str) -> None:
    if (counts == 0).any():
        number = int((counts == 0).nonzero()[0])
        raise DataError(f"class weights: {what} {number} has no image, expected one at least; switch the weights off")
