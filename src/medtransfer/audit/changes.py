"""Changed images for the question what a model uses: a region filled, patches shuffled, other surroundings."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtransfer.audit.cases import Bits, Cases

GRID = 4
"""Patches per side when they are shuffled."""
Images = NDArray[Any]
Order = NDArray[np.int64]


def fill(images: Images, region: Bits) -> Images:
    """Return images with a region ``[N, h, w]`` set to one level per channel: its median over all images.

    One level for all: the level of an image's other pixels would carry what they tell into the region.
    """
    inside = [images[:, channel][region] for channel in range(images.shape[1])]
    level = np.array([np.median(pixels) if pixels.size else 0 for pixels in inside]).astype(images.dtype)
    return np.where(region[:, None], level[:, None, None], images)


def occlude(images: Images, boxes: Bits) -> Images:
    """Return images with small regions ``[N, h, w]`` filled from the median of the pixels just around them."""
    result = images.copy()
    for image, where in zip(result, boxes, strict=True):
        if where.any():
            around = ndimage.binary_dilation(where, iterations=3) & ~where
            image[:, where] = np.median(image[:, around], axis=1).astype(image.dtype)[:, None]
    return result


def shuffle_patches(images: Images, *, seed: int) -> Images:
    """Return images cut into ``GRID × GRID`` patches in random order, each image in another one.

    What the cut leaves over at the lower and right edge stays where it is.
    """
    rng, result = np.random.default_rng(seed), images.copy()
    height, width = (side // GRID for side in images.shape[2:])
    places = [(row * height, column * width) for row in range(GRID) for column in range(GRID)]
    for image, changed in zip(images, result, strict=True):
        for (top, left), number in zip(places, rng.permutation(len(places)), strict=True):
            y, x = places[int(number)]
            changed[:, top : top + height, left : left + width] = image[:, y : y + height, x : x + width]
    return result


def lenders(cases: Cases, *, seed: int) -> Order:
    """Return for each image another patient's image that lends its surroundings; every image lends once.

    Patients are in random order and lend to the next one, so the labels of the two images are independent.
    """
    rng = np.random.default_rng(seed)
    names, numbers, sizes = np.unique(cases.patients.astype(str), return_inverse=True, return_counts=True)
    grouped = np.argsort(rng.permutation(len(names))[numbers], kind="stable")
    result = np.empty(len(cases), np.int64)
    result[grouped] = np.roll(grouped, int(sizes.max()))
    return result


def exchange_surroundings(cases: Cases, order: Order) -> Images:
    """Return every image in the surroundings of its lender: all outside the lungs of both, or the border alone."""
    return np.where(cases.surroundings(order)[:, None], cases.images[order], cases.images)
