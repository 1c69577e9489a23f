"""The severity map of a network that grades lung zones: the probability of a lesion at every pixel of the lungs."""

from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medtransfer.errors import ModelError
from medtransfer.models.classifier import Classifier
from medtransfer.models.multitask import MultitaskHead

SEVERITY_MAP = "severity_map"


def severity_map(
    model: Classifier, images: Float[Tensor, "batch 3 h w"], lungs: Bool[Tensor, "batch h w"]
) -> Float[Tensor, "batch h w"]:
    """Return the probability of a lesion at every pixel, 0 outside the lungs (Park et al. 2022).

    The severity of a zone is the largest value of the map inside it.

    Args:
        model: a multi-task network in evaluation mode.
        images: normalised images.
        lungs: their lung masks.

    Raises:
        ModelError: the network grades no lung zones.
    """
    require_severity(model)
    head = cast(MultitaskHead, model.head)
    with torch.no_grad():
        severity = head.severity_logits(head.encode(model.feature_map(images))).sigmoid()
    return severity * lungs.to(severity)


def require_severity(model: Classifier) -> None:
    """Raise a ``ModelError`` unless the network grades lung zones."""
    if not (isinstance(model.head, MultitaskHead) and model.head.severity):
        raise ModelError(f"{SEVERITY_MAP}: the network grades no lung zones; take one whose answer has severity_score")
