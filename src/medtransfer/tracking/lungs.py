"""Lung masks of images that a registered model is given, for networks that grade lung zones."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtransfer.data.given import Facts, encoded_files, packed_batches
from medtransfer.errors import DataError
from medtransfer.tracking.columns import FILES

if TYPE_CHECKING:
    from medtransfer.data.lungs import LungMasks


def batches_with_lungs(
    given: Any, preprocessing: Mapping[str, Any], *, facts: list[Facts] | None = None
) -> Iterator[tuple[npt.NDArray[Any], "LungMasks | None"]]:
    """Yield images as ``packed_batches`` does, each with the lungs at the size of the network's input.

    Masks are one more channel of arrays; image files come without. Without masks the network's segmenter finds the
    lungs, else the whole image counts as lung. Networks that grade no zones have no lungs.

    Args:
        given: as ``packed_batches`` takes it; a network that was trained on masks takes ``[N, C + 1, H, W]`` too.
        preprocessing: of the model's config.json.
        facts: is extended by what is known of each file.

    Raises:
        DataError: the images are outside the contract, or a mask shows no lung or holds other values than mask files.
    """
    images, masks = (given, None) if encoded_files(given) is not None else _split(given, preprocessing)
    start = 0
    for packed in packed_batches(images, preprocessing, facts=facts):
        own = None if masks is None else masks[start : start + len(packed)]
        yield packed, _lungs(packed, own, preprocessing, start) if "masks" in preprocessing else None
        start += len(packed)


def _split(images: Any, preprocessing: Mapping[str, Any]) -> tuple[Any, npt.NDArray[Any] | None]:
    """Return images without, and the lung masks ``[N, H, W]`` of a network that takes them."""
    channels = preprocessing["channels"]
    if preprocessing.get("masks") != FILES:
        return images, None
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[1] != channels + 1:
        return images, None
    return array[:, :channels], array[:, channels]


def _lungs(
    packed: npt.NDArray[Any], masks: npt.NDArray[Any] | None, preprocessing: Mapping[str, Any], start: int
) -> "LungMasks":
    import torch

    from medtransfer.data.arrays import LUNG_VALUES, prepare_mask
    from medtransfer.data.lungs import FILE, LungMasks, complete
    from medtransfer.data.windows import centre_crop
    from medtransfer.models.segmenters import segmenter

    if masks is None:
        found = complete(packed, segmenter(preprocessing["segmenter"]))
    else:
        named = [(f"lung mask of image {number}", mask) for number, mask in enumerate(masks, start)]
        size = preprocessing["size"]
        lungs = np.stack([(prepare_mask(mask, size, where=name) & LUNG_VALUES) > 0 for name, mask in named])
        if empty := [name for (name, _), one in zip(named, lungs, strict=True) if not one.any()]:
            raise DataError(f"{empty[0]} shows no lung; send a mask with lung, or images without the mask's channel")
        found = LungMasks(lungs, [FILE] * len(lungs))
    cropped = centre_crop(torch.from_numpy(found.masks), preprocessing["crop"])
    return found._replace(masks=cropped.numpy())
