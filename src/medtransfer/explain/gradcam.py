"""Grad-CAM (Selvaraju et al. 2017, Eq. 1 and 2) on the last map before pooling, as in Fig. 4 of Liu & Ji 2021."""

import torch
from jaxtyping import Float
from torch import Tensor

from medtransfer.errors import ModelError
from medtransfer.explain.capture import to_unit_heat, undisturbed
from medtransfer.models.classifier import Classifier
from medtransfer.models.heads import joined


def grad_cam(
    model: Classifier, images: Float[Tensor, "batch 3 h w"], output: int
) -> Float[Tensor, "batch {images.shape[2]} {images.shape[3]}"]:
    """Return where the evidence for one class is, on 0–1 at the images' size.

    ``heat = ReLU(Σ_c α_c · map_c)`` with ``α_c`` the mean over positions of the gradient of the class's score by
    channel c. The score is the logit; of two classes it is the class's logit minus the other, the log odds, since what
    both logits share moves no probability. An image whose map holds no evidence for the class is 0 everywhere. The
    network keeps its modes and its parameters' gradients; ATTN layers after the last block belong to the map.

    Args:
        model: any network that makes logits from one map.
        images: normalised images.
        output: column of the class; of several heads they are side by side.

    Example:
        covid = description["heads"]["label"].outputs.index("covid")
        heat = grad_cam(network, images, covid)

    Raises:
        ModelError: the network has no such output.
    """
    if not 0 <= output < model.head.out_features:
        raise ModelError(
            f"Grad-CAM: output {output} does not exist, the network has {model.head.out_features}; "
            f"take 0 to {model.head.out_features - 1}"
        )
    with undisturbed(model):
        with torch.no_grad():
            maps = model.feature_map(images)
        with torch.enable_grad():  # from the map on only, so the trunk keeps nothing for a backward pass
            leaf = maps.detach().requires_grad_()
            logits = joined(model.classify(leaf))
            score = logits[:, output] - logits[:, 1 - output] if logits.shape[1] == 2 else logits[:, output]
            (gradient,) = torch.autograd.grad(score.sum(), leaf)
    weight = gradient.mean((2, 3), keepdim=True)
    heat = torch.relu((weight * maps).sum(1))
    return to_unit_heat(heat, (images.shape[2], images.shape[3]))
