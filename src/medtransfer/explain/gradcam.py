"""Grad-CAM (Selvaraju et al. 2017, Eq. 1 and 2) on the last map before pooling, as in Fig. 4 of Liu & Ji 2021."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medtransfer.explain.capture import to_unit_heat, undisturbed
from medtransfer.explain.layers import as_map, named_layer, outputs_of
from medtransfer.explain.scores import class_score
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
    with undisturbed(model):
        with torch.no_grad():
            maps = model.feature_map(images)
        with torch.enable_grad():  # from the map on only, so the trunk keeps nothing for a backward pass
            leaf = maps.detach().requires_grad_()
            score = class_score(joined(model.classify(leaf)), output)
            (gradient,) = torch.autograd.grad(score.sum(), leaf)
    return _heat(maps, gradient, (images.shape[2], images.shape[3]))


def layer_grad_cam(
    model: nn.Module, images: Float[Tensor, "batch 3 h w"], output: int, layer: str
) -> Float[Tensor, "batch {images.shape[2]} {images.shape[3]}"]:
    """Return Grad-CAM on the output of any layer, a map or a transformer's tokens; else as :func:`grad_cam`.

    Args:
        model: any network from images to logits.
        images: normalised images.
        output: column of the class.
        layer: its dotted name.

    Raises:
        ModelError: no such layer or output, or the layer puts out no map.
    """
    module = named_layer(model, layer)
    with undisturbed(model), outputs_of(module) as seen, torch.enable_grad():
        score = class_score(joined(model(images.detach().requires_grad_())), output)
        (gradient,) = torch.autograd.grad(score.sum(), seen[-1])
    return _heat(as_map(seen[-1].detach(), layer), as_map(gradient, layer), (images.shape[2], images.shape[3]))


def _heat(maps: Tensor, gradient: Tensor, size: tuple[int, int]) -> Tensor:
    weight = gradient.mean((2, 3), keepdim=True)
    return to_unit_heat(torch.relu((weight * maps).sum(1)), size)
