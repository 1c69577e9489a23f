"""Small images of a gallery: the grey image, the map in *inferno*, and the map over the image; one case, one file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtransfer.explain.panels import HEAT, OPACITY
from medtransfer.files import write_atomic

Rgb = NDArray[np.uint8]
STOPS = 16
"""Colours of the colour bar."""


def grey_tile(image: NDArray[np.uint8]) -> Rgb:
    """Return a grey image ``[h, w]`` as ``[h, w, 3]``."""
    return np.repeat(image[..., None], 3, axis=2)


def map_tile(heat: NDArray[np.floating]) -> Rgb:
    """Return heat ``[h, w]`` on 0–1 in colours ``[h, w, 3]``."""
    colours: Rgb = _colours(256)[np.rint(np.clip(heat, 0, 1) * 255).astype(np.int64)]
    return colours


def overlay_tile(image: NDArray[np.uint8], heat: NDArray[np.floating]) -> Rgb:
    """Return heat over an image, the more opaque the hotter, so that the image stays grey where there is none."""
    opacity = OPACITY * np.sqrt(np.clip(heat, 0, 1))[..., None]
    mixed: Rgb = np.rint(opacity * map_tile(heat) + (1 - opacity) * grey_tile(image)).astype(np.uint8)
    return mixed


def bar_colours() -> list[str]:
    """Return the colours of the scale from 0 to 1 as ``#rrggbb``."""
    return ["#" + bytes(colour).hex() for colour in _colours(STOPS)]


def write_tile(tile: Rgb, file: Path) -> None:
    """Write a tile as PNG, atomically."""
    from PIL import Image

    write_atomic(file, lambda path: Image.fromarray(tile).save(path, format="PNG"))


def _colours(count: int) -> Rgb:
    import matplotlib

    table = matplotlib.colormaps[HEAT](np.linspace(0, 1, count))[:, :3]
    colours: Rgb = np.rint(table * 255).astype(np.uint8)
    return colours
