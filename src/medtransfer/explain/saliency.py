"""Saliency (Simonyan et al. 2014), plain or smoothed (SmoothGrad, Smilkov et al. 2017)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medtransfer.explain.capture import to_unit_heat, undisturbed
from medtransfer.explain.scores import class_score
from medtransfer.models.heads import joined


def saliency(
    model: nn.Module,
    images: Float[Tensor, "batch 3 h w"],
    output: int,
    *,
    samples: int = 1,
    noise: float = 0.0,
    seed: int = 0,
) -> Float[Tensor, "batch {images.shape[2]} {images.shape[3]}"]:
    """Return how much the class's score changes with each pixel: the largest absolute gradient of the channels, on 0–1.

    Args:
        model: any network from images to logits; of several heads they are side by side.
        images: normalised images.
        output: column of the class.
        samples: noisy copies of each image over which absolute gradients are averaged; 1 without noise is plain.
        noise: standard deviation of the noise as a share of the range of each image.
        seed: of the noise.

    Raises:
        ModelError: the network has no such output.
    """
    generator = torch.Generator().manual_seed(seed)
    spread = noise * (images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True))
    total = torch.zeros_like(images)
    with undisturbed(model):
        for _ in range(samples):
            drawn = torch.randn(images.shape, generator=generator).to(images)
            leaf = (images + spread * drawn).detach().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(class_score(joined(model(leaf)), output).sum(), leaf)
            total += gradient.abs()
    return to_unit_heat(total.amax(1) / samples, (images.shape[2], images.shape[3]))
