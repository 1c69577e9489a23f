"""Planted shortcuts: what a network may look at instead of the disease, with an adjustable strength from 0 to 1."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field as Bound

from medtransfer.config import Config
from medtransfer.data.phantom.record import Bytes, Marker
from medtransfer.data.phantom.scanner import Scanner

Place = Literal["upper left", "upper right", "lower left", "lower right", "left", "right", "top", "bottom"]
UPPER_CORNERS: tuple[Place, ...] = ("upper left", "upper right")
MARKER_TEXT, MARKER_GREY = "RX", 240
_GLYPHS = ("##..#.#", "#.#.#.#", "##...#.", "#.#.#.#", "#.#.#.#")


class ShortcutConfig(Config):
    """Strength of the link between a shortcut and the label: 0 independent of it, 1 the same thing.

    Attributes:
        text_marker: letters burnt into a corner.
        source_contrast: the hospital, and with it the contrast curve, noise and field of view.
    """

    text_marker: float = Bound(default=0.0, ge=0, le=1)
    source_contrast: float = Bound(default=0.0, ge=0, le=1)


def marked(rng: np.random.Generator, positive: bool, strength: float) -> bool:
    """Decide whether an image gets the marker: with chance ``strength`` as the label says, else by tossing a coin."""
    follows, coin = rng.random() < strength, rng.random() < 0.5
    return positive if follows else coin


def choose_scanner(rng: np.random.Generator, positive: bool, strength: float, scanners: Sequence[Scanner]) -> Scanner:
    """Choose the hospital: with chance ``strength`` the first one for positives and another for negatives, else any.

    A list of one hospital leaves nothing to choose.
    """
    others = scanners[1:] or scanners
    follows, any_one, other = rng.random() < strength, rng.integers(len(scanners)), rng.integers(len(others))
    if follows:
        return scanners[0] if positive else others[int(other)]
    return scanners[int(any_one)]


def burn_marker(
    rng: np.random.Generator, image: Bytes, *, places: Sequence[Place] = UPPER_CORNERS, opacity: float = 1.0
) -> tuple[Bytes, Marker]:
    """Return a copy of a grey image ``[h, w]`` with bright letters at one of some places, and their box.

    Args:
        rng: draws the place.
        image: ``[h, w]`` uint8.
        places: corners, or the middle of a side.
        opacity: 1 for opaque letters, less lets the image shine through.
    """
    zoom = max(1, image.shape[0] // 48)
    dots = np.array([[dot == "#" for dot in row] for row in _GLYPHS])
    letters = np.kron(dots, np.ones((zoom, zoom), dtype=bool))
    height, width = letters.shape
    left, top = _corner(places[int(rng.random() * len(places))], image.shape, letters.shape, margin=2 * zoom)
    result = image.copy()
    below = image[top : top + height, left : left + width][letters]
    result[top : top + height, left : left + width][letters] = np.rint(opacity * MARKER_GREY + (1 - opacity) * below)
    return result, Marker(MARKER_TEXT, (left, top, left + width, top + height))


def _corner(place: Place, image: tuple[int, ...], letters: tuple[int, ...], *, margin: int) -> tuple[int, int]:
    """Return the left and upper edge of letters at a place."""
    (rows, columns), (height, width) = image, letters
    words = place.split()
    across = {"left": margin, "right": columns - margin - width}
    down = {"upper": margin, "top": margin, "lower": rows - margin - height, "bottom": rows - margin - height}
    left = next((across[word] for word in words if word in across), (columns - width) // 2)
    top = next((down[word] for word in words if word in down), (rows - height) // 2)
    return left, top
