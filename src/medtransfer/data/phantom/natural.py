"""Natural-like colour images: one of six shapes, any colour, size and turn, on a textured background."""

from collections.abc import Callable

import numpy as np
from pydantic import Field as Bound
from scipy import ndimage

from medtransfer.config import Config
from medtransfer.data.phantom.record import Field, Phantom
from medtransfer.data.phantom.shapes import Grid, cloud, soft, square_grid

COLOUR_STEP = 18


class NaturalConfig(Config):
    """How natural-like images are drawn: ``size`` is height and width in pixels."""

    size: int = Bound(default=64, ge=16)


def _disc(grid: Grid) -> Field:
    return np.asarray(1 - np.hypot(grid.x, grid.y))


def _ring(grid: Grid) -> Field:
    return np.asarray(0.25 - np.abs(np.hypot(grid.x, grid.y) - 0.75))


def _cross(grid: Grid) -> Field:
    across, along = np.minimum(abs(grid.x), abs(grid.y)), np.maximum(abs(grid.x), abs(grid.y))
    return np.asarray(np.minimum(0.3 - across, 1 - along))


def _star(grid: Grid) -> Field:
    angle = np.arctan2(grid.y, grid.x)
    return np.asarray(0.65 + 0.4 * np.cos(5 * angle) - np.hypot(grid.x, grid.y))


def _square(grid: Grid) -> Field:
    return np.asarray(0.8 - np.maximum(np.abs(grid.x), np.abs(grid.y)))


def _triangle(grid: Grid) -> Field:
    slanted = np.sqrt(0.75) * np.abs(grid.x) - 0.5 * grid.y
    return np.asarray(0.5 - np.maximum(grid.y, slanted))


SHAPES: dict[str, Callable[[Grid], Field]] = {
    "cross": _cross,
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "star": _star,
    "triangle": _triangle,
}


def draw_natural(rng: np.random.Generator, label: str, config: NaturalConfig) -> Phantom:
    """Draw one colour image ``[size, size, 3]``; its mask is empty: there is no lung in it.

    Raises:
        KeyError: ``label`` is not in ``SHAPES``.
    """
    grid = square_grid(config.size, 2.0)
    canvas = _background(rng, grid)
    radius = rng.uniform(0.45, 0.8)
    seen = grid.moved(rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25), rng.uniform(-180, 180))
    cover = soft(radius * SHAPES[label](Grid(seen.x / radius, seen.y / radius, grid.pixel)), 0.02)[..., None]
    shade = 1 + 0.15 * cloud(rng, grid, 0.3)[..., None]
    colour = _contrasting(rng, canvas.mean(axis=(0, 1)))
    canvas = (1 - cover) * canvas + cover * colour * shade
    level = np.clip(ndimage.gaussian_filter(canvas, (0.5, 0.5, 0)), 0, 1)
    image = (np.rint(level * 252 / COLOUR_STEP) * COLOUR_STEP).astype(np.uint8)
    return Phantom(image, np.zeros(grid.x.shape, dtype=np.uint8), label)


def _contrasting(rng: np.random.Generator, background: Field) -> Field:
    """Draw a colour that differs from the background by at least 0.4 in the sum of its channels' differences."""
    colours = rng.uniform(0.05, 0.95, (32, 3))
    return np.asarray(colours[np.argmax(np.abs(colours - background).sum(axis=1) > 0.4)])


def _background(rng: np.random.Generator, grid: Grid) -> Field:
    """Mix two colours by clouds, stripes or checks; ``[h, w, 3]`` in 0-1."""
    first, second = rng.uniform(0, 1, 3), rng.uniform(0, 1, 3)
    turned = grid.moved(0, 0, degrees=rng.uniform(0, 180))
    waves = np.sin(turned.x * rng.uniform(4, 14))
    kind = int(rng.integers(3))
    pattern = (2 * cloud(rng, grid, rng.uniform(0.08, 0.3)), 4 * waves, 6 * waves * np.sin(turned.y * 7))[kind]
    mix = (0.5 + 0.5 * np.tanh(pattern))[..., None]
    return np.asarray(mix * first + (1 - mix) * (0.6 * second + 0.4 * first))
