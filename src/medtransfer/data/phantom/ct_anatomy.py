"""Chest anatomy for axial slices: lungs, fissures and lobes as surfaces in the body, cut at a level.

Body coordinates in cm: x to the patient's left (image right), y to the back (image bottom), origin in the middle of
the chest; the level runs from 0 (apex) to 1 (base). The oblique fissures are surfaces that rise towards the back. The
horizontal fissure is a tilted surface near the hilum whose front lies lower than its back and whose side lies lower
than its middle (Raasch et al. 1982, Radiographic anatomy of the interlobar fissures). A slice meets the fissures where
its own level lies.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medtransfer.data.phantom.record import LOBES, Bits, Bytes, Field
from medtransfer.data.phantom.shapes import Grid, ellipse

LobeName = Literal["ru", "rm", "rl", "lu", "ll"]


@dataclass(frozen=True)
class Fissure:
    """An oblique fissure: its y (cm) at the hilum's level, fall towards the front per level, and bend to the side."""

    at_hilum: float
    fall: float
    lateral: float
    bend: float

    def depth_behind(self, grid: Grid, level: float) -> Field:
        """Return how far (cm) a place lies behind the fissure; positive means lower lobe."""
        side = np.abs(grid.x) - 7.0
        return np.asarray(
            grid.y - (self.at_hilum - self.fall * (level - 0.5) + self.lateral * side + self.bend * side**2)
        )


@dataclass(frozen=True)
class CtAnatomy:
    """One patient's chest: sizes in cm, turn in degrees, lobes that are missing or collapsed."""

    scale: float
    depth: float
    fat: float
    turn: float
    shift: tuple[float, float]
    heart: float
    parenchyma: float
    right: Fissure
    left: Fissure
    horizontal: tuple[float, float, float]
    missing: LobeName | None
    collapsed: LobeName | None

    def place(self, grid: Grid) -> Grid:
        """Return body coordinates of the image's pixels: turned, shifted and scaled as the patient lies."""
        seen = grid.moved(*self.shift, degrees=self.turn)
        return Grid(seen.x / self.scale, seen.y / (self.scale * self.depth), seen.pixel)


def sample_fissure(rng: np.random.Generator) -> Fissure:
    """Draw an oblique fissure: from the back at the upper third to the front at the diaphragm, with random tilt."""
    return Fissure(rng.normal(1.0, 1.0), rng.normal(19.0, 2.0), rng.normal(0.0, 0.2), rng.normal(0.03, 0.03))


def sample_anatomy(rng: np.random.Generator, *, missing_rate: float, collapsed_rate: float) -> CtAnatomy:
    """Draw one patient; a lobe is missing (resected) or else collapsed with the given chances."""
    names: list[LobeName] = ["ru", "rm", "rl", "lu", "ll"]
    lost, shrunk = names[rng.integers(5)], names[rng.integers(5)]
    fate = rng.random()
    return CtAnatomy(
        scale=float(np.clip(rng.normal(0.98, 0.06), 0.84, 1.12)),
        depth=rng.uniform(0.88, 1.1),
        fat=rng.uniform(0.6, 2.2),
        turn=float(np.clip(rng.normal(0, 6), -18, 18)),
        shift=(rng.normal(0, 1.1), rng.normal(0, 1.1)),
        heart=rng.uniform(0.85, 1.2),
        parenchyma=float(np.clip(rng.normal(-800, 65), -920, -650)),
        right=sample_fissure(rng),
        left=sample_fissure(rng),
        horizontal=(rng.normal(0.52, 0.05), rng.normal(0.006, 0.012), rng.normal(-0.012, 0.008)),
        missing=lost if fate < missing_rate else None,
        collapsed=shrunk if missing_rate <= fate < missing_rate + collapsed_rate else None,
    )


def mediastinum_depth(anatomy: CtAnatomy, grid: Grid, level: float) -> Field:
    """Return the signed depth (cm) inside heart, great vessels and spine: what the lungs leave free in the middle."""
    low = float(np.clip((level - 0.4) / 0.35, 0, 1))
    middle = ellipse(grid, (0.3, -1.0), (3.2, 6.5))
    size = anatomy.heart * low
    heart = ellipse(grid.moved(2.3, -2.6, 35), (0, 0), (2.5 + 4.2 * size, 2.5 + 2.4 * size), 2.2)
    spine = ellipse(grid, (0, 6.4), (3.0, 4.2))
    return np.asarray(np.maximum.reduce([middle, heart, spine]))


def lung_depth(anatomy: CtAnatomy, grid: Grid, level: float) -> Field:
    """Return the signed depth (cm) inside the lungs at a level; the domes of the diaphragm cut the lower slices."""
    grow = float(np.clip(0.42 + 1.35 * level, 0, 1))
    sides = [ellipse(grid, (side * (6.0 * grow + 0.9), 0.4), (6.3 * grow, 8.6 * grow), 2.3) for side in (-1, 1)]
    liver = ellipse(grid, (-6.2, -2.0), (_dome(level, 0.70), _dome(level, 0.70)))
    stomach = ellipse(grid, (7.0, -2.4), (_dome(level, 0.78), _dome(level, 0.78)))
    around = np.maximum.reduce([mediastinum_depth(anatomy, grid, level), liver, stomach])
    return np.asarray(np.minimum(np.maximum(*sides), -around))


def lobe_map(anatomy: CtAnatomy, grid: Grid, level: float, lung: Bits) -> Bytes:
    """Return the lobes 1-5 (0 outside ``lung``), all ``[h, w]``; ``grid`` is in body coordinates."""
    height, across, along = anatomy.horizontal
    below = level - (height + across * (np.abs(grid.x) - 6.0) + along * grid.y + _moved(anatomy, "rm", "ru", 0.14, 9.0))
    behind_right = anatomy.right.depth_behind(grid, level) - _moved(anatomy, "rl", "ru", 5.0, 99.0)
    behind_left = anatomy.left.depth_behind(grid, level) - _moved(anatomy, "ll", "lu", 5.0, 99.0)
    if anatomy.missing == "ru":
        behind_right, below = anatomy.right.depth_behind(grid, level), np.ones_like(below)
    front = np.where(below > 0, LOBES["rm"], LOBES["ru"])
    right = np.where(behind_right > 0, LOBES["rl"], front)
    left = np.where(behind_left > 0, LOBES["ll"], LOBES["lu"])
    return np.where(lung, np.where(grid.x < 0, right, left), 0).astype(np.uint8)


def _dome(level: float, top: float) -> float:
    return max(0.05, 17.0 * (level - top))


def _moved(anatomy: CtAnatomy, back: LobeName, front: LobeName, shrink: float, gone: float) -> float:
    """How far a boundary moves when the lobe behind it (+) or before it (-) is collapsed or missing."""
    amount = {anatomy.missing: gone, anatomy.collapsed: shrink}
    return amount.get(back, 0.0) - amount.get(front, 0.0)
