"""Cutting windows out of batches of images: at whole pixels by copying, at any box by sampling."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from medtransfer.errors import ConfigError


def centre_crop(images: Shaped[Tensor, "*leading height width"], crop: int) -> Shaped[Tensor, "*leading crop crop"]:
    """Return the central ``crop`` × ``crop`` pixels.

    Raises:
        ConfigError: the crop is larger than the images.
    """
    require_room(images, crop)
    top, left = ((side - crop) // 2 for side in images.shape[-2:])
    return images[..., top : top + crop, left : left + crop]


def crop_boxes(
    images: Shaped[Tensor, "batch channels height width"], boxes: Float[Tensor, "batch regions 4"], size: int
) -> Float[Tensor, "batch*regions channels {size} {size}"]:
    """Cut boxes and resize them bilinearly without aliasing, image-major: the regions of image 0 first.

    Each box at its own scale along each axis: one as large as the result is copied, whatever the image's size.

    Args:
        images: uint8, uint16, or float on 0–1.
        boxes: x0, y0, x1, y1 in pixels, edges of pixels being whole numbers.
        size: side of the result in pixels.

    Returns:
        Images on 0–1, not normalised.
    """
    (batch, channels, height, width), regions = images.shape, boxes.shape[1]
    x0, y0, x1, y1 = boxes.to(images.device, torch.float32).unbind(-1)
    # one matrix per box and axis: every box is filtered by its own scale without a loop over boxes
    down, across = _resampling(y0, y1, height, size), _resampling(x0, x1, width, size)
    # the rows of all boxes of an image in one product, so that no image is repeated in memory
    rows = (down.flatten(1, 2)[:, None] @ to_unit(images)).view(batch, channels, regions, size, width)
    return (rows @ across[:, None].mT).transpose(1, 2).reshape(-1, channels, size, size)


def _resampling(
    first: Float[Tensor, "batch regions"], last: Float[Tensor, "batch regions"], side: int, size: int
) -> Float[Tensor, "batch regions size side"]:
    """Return the weights with which pixels of one axis make up ``size`` pixels between two edges.

    A triangle around each centre, as wide as linear interpolation where the box is enlarged and as wide as two result
    pixels where it shrinks, so that nothing aliases. Pixels beyond an edge of the box count near it; beyond the image
    its outermost pixel goes on.
    """
    step = ((last - first) / size)[..., None, None]
    steps = torch.arange(size, device=first.device)[:, None] + 0.5
    centres = (first[..., None, None] + steps * step).clamp_(0.5, side - 0.5)
    pixels = torch.arange(side, device=first.device) + 0.5
    weights = (1 - (pixels - centres).abs() / step.clamp(min=1)).clamp_(min=0)
    return weights.div_(weights.sum(-1, keepdim=True))


def to_unit(images: Shaped[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return uint8 or uint16 grey levels as float on 0–1; floats are taken to be there already."""
    if images.dtype.is_floating_point:
        return images
    return rescale(images.to(torch.float32), images.dtype)


def copy_windows(images: Tensor, crop: int, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Cut windows at (top, left, flip): on a CPU one converting copy per image is the only pass over pixels."""
    cut = torch.empty((*images.shape[:2], crop, crop))
    for target, image, top, left, flip in zip(cut, images, *(place.tolist() for place in places), strict=True):
        window = image[:, top : top + crop, left : left + crop]
        target.copy_(window.flip(-1) if flip else window)
    return rescale(cut, images.dtype)


def gather_windows(images: Tensor, crop: int, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Cut the same windows by one indexed copy: on a GPU one launch per image would cost more than the pixels."""
    top, left, flip = (place.to(images.device) for place in places)
    images = images if images.dtype == torch.uint8 else to_unit(images)
    windows = images.unfold(2, crop, 1).unfold(3, crop, 1)
    cut = windows[torch.arange(len(images), device=images.device), :, top, left]
    return to_unit(torch.where(flip.view(-1, 1, 1, 1), cut.flip(-1), cut))


def rescale(levels: Tensor, dtype: torch.dtype) -> Tensor:
    """Bring float grey levels that were read from another type to 0–1, in place."""
    return levels if dtype.is_floating_point else levels.mul_(1 / torch.iinfo(dtype).max)


def oversample(images: Tensor, size: int) -> int:
    """Return how many samples a result pixel averages along each side, so that shrinking does not alias."""
    return max(1, min(images.shape[-2:]) // size)


def require_room(images: Tensor, crop: int) -> None:
    """Refuse a crop that is larger than the images."""
    if crop > min(images.shape[-2:]):
        raise ConfigError(
            f"crop {crop} is larger than the images ({images.shape[-2]} × {images.shape[-1]} pixels): "
            "expected at most their side; lower the crop or pack the data set larger"
        )
