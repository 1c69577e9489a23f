"""Lung fields of frontal chest X-rays without training: darker than its surroundings, where lungs usually are."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 64
"""Side in pixels at which lungs are looked for."""
CENTRE, AXES = (0.28, 0.42), (0.21, 0.38)
"""Where the right lung usually is: an ellipse, x and y, as shares of the side; the left one mirrors it."""
EXPECTED, FARTHEST = 0.8, -1.0
"""Weight of the place against the darkness, and the value of the place far outside the ellipses."""
SURROUNDINGS = 0.22
"""Width of the surroundings that a pixel is compared with, as a share of the side."""
THRESHOLD = 0.1
"""Darkness, in standard deviations of the surroundings, with the place added, above which a pixel may be lung."""
AIR = 0.12
"""Grey level on 0–1 below which what touches the edge is the air around the body."""


def lung_fields(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the lungs of frontal X-rays: one region in each half of the image, holes filled.

    Dice against the true mask: 0.89 on drawn X-rays. Of 108 public X-rays of COVID-19 patients with a mask file half
    chose candidates of the constants; on the other half the one that was kept has 0.82 (worst 0.59), where the mean
    shape of the first half's masks has 0.77. It was the best of them there, so 0.82 is slightly optimistic. Dense
    opacities are left out of the lungs, as they are as bright as the heart.

    Args:
        images: grey X-rays ``[N, 1, H, W]``, air dark, the patient's right at the image's left.

    Returns:
        ``[N, H, W]``; a half in which nothing was found is empty.
    """
    return np.stack([_one(image[0]) for image in images])


def _one(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    from scipy import ndimage

    small = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    place = _place()
    candidate = ndimage.binary_opening(_darkness(np.asarray(small)) + EXPECTED * place > THRESHOLD, iterations=2)
    found = np.zeros((SIDE, SIDE), bool)
    for half in (slice(0, SIDE // 2), slice(SIDE // 2, SIDE)):
        part = np.zeros_like(found)
        part[:, half] = candidate[:, half]
        labels, count = ndimage.label(part)
        if count:
            expected = ndimage.sum_labels(place.clip(0), labels, range(1, count + 1))
            found |= ndimage.binary_fill_holes(labels == int(np.argmax(expected)) + 1)
    height, width = image.shape
    return np.asarray(Image.fromarray(found).resize((width, height), Image.Resampling.NEAREST))


def _darkness(small: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return by how many standard deviations a pixel is darker than its surroundings; air around the body is not."""
    from scipy import ndimage

    grey = ndimage.gaussian_filter(small.astype(np.float64), 0.75)
    low, high = np.percentile(grey, [2, 98])
    grey = ((grey - low) / max(high - low, 1.0)).clip(0, 1)
    labels, _ = ndimage.label(grey < AIR)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    air = np.isin(labels, edge[edge > 0])
    body = (~air).astype(np.float64)

    def around(values: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred = ndimage.gaussian_filter(values * body, SURROUNDINGS * SIDE, truncate=2)
        return np.asarray(blurred / np.maximum(share, 1e-3))

    share = ndimage.gaussian_filter(body, SURROUNDINGS * SIDE, truncate=2)
    mean = around(grey)
    spread = np.sqrt(around((grey - mean) ** 2))
    return np.where(air, -3.0, (mean - grey) / np.maximum(spread, 0.03))


def _place() -> NDArray[np.float64]:
    """Return how central a pixel is in the nearer of both ellipses: 1 in the middle, 0 at the border, then negative."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    (x, y), (wide, high) = CENTRE, AXES
    inside = [1 - ((columns - middle) / wide) ** 2 - ((rows - y) / high) ** 2 for middle in (x, 1 - x)]
    return np.asarray(np.maximum(*inside).clip(FARTHEST, 1))
