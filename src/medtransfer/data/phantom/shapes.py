"""Drawing with signed depths on a grid in centimetres: positive inside a shape, zero on its outline."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medtransfer.data.phantom.record import Bits, Field


@dataclass(frozen=True)
class Grid:
    """Coordinates of pixel centres in cm: ``x`` to the image's right, ``y`` downwards, both ``[size, size]``."""

    x: Field
    y: Field
    pixel: float

    def moved(self, dx: float, dy: float, degrees: float = 0.0) -> "Grid":
        """Return coordinates as seen from a frame shifted by (dx, dy) cm and then turned by ``degrees``."""
        angle = np.deg2rad(degrees)
        x, y = self.x - dx, self.y - dy
        return Grid(np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x, self.pixel)


def square_grid(size: int, field: float) -> Grid:
    """Return the grid of a square image of ``size`` pixels that shows ``field`` cm."""
    pixel = field / size
    axis = (np.arange(size) - (size - 1) / 2) * pixel
    x, y = np.meshgrid(axis, axis)
    return Grid(x, y, pixel)


def ellipse(grid: Grid, centre: tuple[float, float], radii: tuple[float, float], power: float = 2.0) -> Field:
    """Return the approximate signed depth in cm inside a (super)ellipse; exact on the axis of the smaller radius."""
    dx, dy = np.abs(grid.x - centre[0]) / radii[0], np.abs(grid.y - centre[1]) / radii[1]
    return np.asarray((1 - (dx**power + dy**power) ** (1 / power)) * min(radii))


def soft(depth: Field, width: float) -> Field:
    """Return a smooth step of a signed depth: 0 outside, 0.5 on the outline, 1 inside, ``width`` cm wide."""
    return np.asarray(0.5 * (1 + np.tanh(depth / (2 * width))))


def line(distance: Field, width: float) -> Field:
    """Return a smooth ridge of height 1 where a signed distance is zero, ``width`` cm wide (one standard deviation)."""
    return np.asarray(np.exp(-0.5 * (distance / width) ** 2))


def cloud(rng: np.random.Generator, grid: Grid, width: float) -> Field:
    """Return smooth noise with mean 0 and standard deviation 1 whose grains are about ``width`` cm wide."""
    noise = ndimage.gaussian_filter(rng.standard_normal(grid.x.shape), width / grid.pixel, mode="wrap")
    return np.asarray((noise - noise.mean()) / noise.std())


def patch(
    rng: np.random.Generator, grid: Grid, centre: tuple[float, float], radius: float, *, ragged: float = 0.2
) -> Field:
    """Return the signed depth in cm of an irregular round patch, stretched and turned at random."""
    seen = grid.moved(*centre, degrees=rng.uniform(0, 180))
    stretch = rng.uniform(1.0, 1.6)
    x, y = seen.x / stretch, seen.y * stretch
    angle = np.arctan2(y, x)
    outline = np.full_like(x, radius)
    for waves in (2, 3, 5):
        outline += radius * ragged * rng.standard_normal() / waves * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(outline - np.hypot(x, y))


def branches(rng: np.random.Generator, grid: Grid, hilum: tuple[float, float], count: int, *, reach: float) -> Field:
    """Return vessels as ``count`` blobs in [0, 1] that point away from the hilum and thin out within ``reach`` cm."""
    distance = reach * np.sqrt(rng.uniform(0.01, 1, count))
    angle = rng.uniform(0, 2 * np.pi, count)
    width = 0.4 * (1.05 - distance / reach) + rng.uniform(0.08, 0.16, count)
    length = width * rng.uniform(1.0, 5.0, count)
    total = np.zeros_like(grid.x)
    for r, a, across, along in zip(distance, angle, width, length, strict=True):
        x, y = grid.x - hilum[0] - r * np.cos(a), grid.y - hilum[1] - r * np.sin(a)
        u, v = np.cos(a) * x + np.sin(a) * y, np.cos(a) * y - np.sin(a) * x
        np.maximum(total, np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2)), out=total)
    return total


def pick(rng: np.random.Generator, grid: Grid, weight: Field, region: Bits) -> tuple[float, float]:
    """Draw a place (x, y) in cm inside ``region`` with probability in proportion to ``weight``, both ``[h, w]``."""
    chance = np.where(region, weight, 0.0).ravel()
    index = int(rng.choice(chance.size, p=chance / chance.sum()))
    return float(grid.x.flat[index]), float(grid.y.flat[index])


def wall_distance(grid: Grid, region: Bits) -> Field:
    """Return the distance in cm from each pixel of ``region`` to its nearest outline."""
    return np.asarray(ndimage.distance_transform_edt(region) * grid.pixel)
