"""Axial chest CT slices in Hounsfield units, with ground-glass lesions of COVID-19 and look-alikes in both classes."""

from typing import Literal

import numpy as np
from pydantic import Field as Bound

from medtransfer.config import Config
from medtransfer.data.phantom import ct_anatomy
from medtransfer.data.phantom.ct_anatomy import CtAnatomy
from medtransfer.data.phantom.record import LESION, LOBES, Bits, Bytes, Field, Phantom
from medtransfer.data.phantom.scanner import Scanner, expose
from medtransfer.data.phantom.shapes import (
    Grid,
    branches,
    cloud,
    ellipse,
    line,
    patch,
    pick,
    soft,
    square_grid,
    wall_distance,
)

CtLabel = Literal["covid", "non-covid"]


class CtConfig(Config):
    """How CT slices are drawn.

    Attributes:
        size: height and width, pixels.
        visibility: factor on the contrast of ground-glass lesions; 0 makes them invisible.
        distractors: chance of each look-alike (nodule, atelectasis; consolidation in negatives only).
        missing: chance that a lobe is missing.
        collapsed: chance that a lobe is collapsed.
    """

    size: int = Bound(default=96, ge=32)
    visibility: float = Bound(default=1.0, ge=0)
    distractors: float = Bound(default=0.35, ge=0, le=1)
    missing: float = Bound(default=0.05, ge=0, le=1)
    collapsed: float = Bound(default=0.08, ge=0, le=1)


def draw_ct(
    patient: np.random.Generator, rng: np.random.Generator, label: CtLabel, scanner: Scanner, config: CtConfig
) -> Phantom:
    """Draw one slice.

    Args:
        patient: stream that fixes the anatomy; the same stream gives the same patient.
        rng: stream of everything that differs between two slices of a patient: level, lesions, noise.
        label: ``covid`` has ground-glass lesions, ``non-covid`` has none.
        scanner: hospital.
        config: sizes and chances.

    Returns:
        The slice with lobes 1-5 and the ground-glass lesions in its mask. Look-alikes are not marked.
    """
    anatomy = ct_anatomy.sample_anatomy(patient, missing_rate=config.missing, collapsed_rate=config.collapsed)
    grid = square_grid(config.size, scanner.field)
    body = anatomy.place(grid)
    level = float(rng.uniform(0.2, 0.92))
    depth = ct_anatomy.lung_depth(anatomy, body, level)
    lobes = ct_anatomy.lobe_map(anatomy, body, level, depth > 0)
    air = _parenchyma(rng, anatomy, body, depth, lobes)
    air += _lookalikes(rng, body, lobes, label, config)
    lesion = np.zeros(depth.shape, dtype=bool)
    if label == "covid":
        glass, lesion = _ground_glass(rng, body, lobes)
        air += config.visibility * glass
    air = np.minimum(air, 60)
    inside = soft(depth, 0.12)
    value = (1 - inside) * _chest(rng, anatomy, body, level) + inside * air
    torso = soft(_torso(body) + 0.5, 0.3)
    value = value * torso - 1000 * (1 - torso) + _table(body) * (1 - torso)
    mask = lobes + LESION * lesion.astype(np.uint8)
    image = expose(rng, scanner, grid, value, torso)
    return Phantom(image, mask, label, scanner.source, "axial", {"covid": float(label == "covid")})


def _torso(body: Grid) -> Field:
    return ellipse(body, (0, 0.4), (16.0, 11.6), 2.4)


def _chest(rng: np.random.Generator, anatomy: CtAnatomy, body: Grid, level: float) -> Field:
    """Everything but the lungs: fat, muscle, ribs, shoulder blades, spine, sternum, heart, vessels, windpipe."""
    fat = soft(anatomy.fat - _torso(body), 0.2)
    value = 45 - 140 * fat + 12 * cloud(rng, body, 0.5)
    value += (1 - fat) * -60 * soft(ct_anatomy.mediastinum_depth(anatomy, body, level) - 2.5, 0.6) * (level < 0.45)
    bone = _ribs(rng, body) + 0.9 * soft(ellipse(body, (0, -9.3), (2.2, 0.7)), 0.15)
    if level < 0.5:
        blades = [soft(ellipse(body.moved(s * 11.2, 6.6, s * 50), (0, 0), (0.45, 3.0)), 0.15) for s in (-1, 1)]
        bone += blades[0] + blades[1]
    bone += soft(ellipse(body, (0, 5.6), (2.1, 1.7)), 0.2) + soft(ellipse(body, (0, 9.0), (0.6, 1.4)), 0.2)
    value += 420 * np.minimum(bone, 1)
    contrast = rng.uniform(0, 130)
    value += contrast * soft(ellipse(body, (2.4, 4.0), (1.2, 1.2)), 0.15)
    value += contrast * soft(ellipse(body, (1.5, -2.5), (2.0 + 2.5 * level, 1.6 + 2 * level)), 0.3)
    pipes = [(0.0, 0.9)] if level < 0.42 else [(-1.8, 0.6), (2.0, 0.6)] if level < 0.55 else []
    for x, radius in pipes:
        value -= 1000 * soft(ellipse(body, (x, 1.2), (radius, radius)), 0.1)
    return np.asarray(value)


def _ribs(rng: np.random.Generator, body: Grid) -> Field:
    """Cut ribs: short bright arcs on a ring around the chest."""
    ring = line(ellipse(body, (0, 0.4), (13.6, 9.6), 2.4), 0.32)
    angle = np.arctan2(body.y / 9.6, body.x / 13.6)
    return np.asarray(ring * soft(np.cos(7 * angle + rng.uniform(0, 2 * np.pi)) - 0.1, 0.15))


def _parenchyma(rng: np.random.Generator, anatomy: CtAnatomy, body: Grid, depth: Field, lobes: Bytes) -> Field:
    """Lung tissue: denser towards the back, vessels, thin fissures, and a collapsed lobe as solid tissue."""
    value = anatomy.parenchyma + 7 * body.y + rng.normal(0, 40) + 22 * cloud(rng, body, 0.8)
    for side in (-1, 1):
        value += 600 * branches(rng, body, (side * 3.2, 0.3), 32, reach=9.5) * soft(depth - 0.5, 0.3)
    edges = (np.diff(lobes, axis=0, append=lobes[-1:]) != 0) & (depth > 0.4)
    value += 90 * edges
    if anatomy.collapsed is not None:
        value += 480 * (lobes == LOBES[anatomy.collapsed])
    return np.asarray(value)


def _ground_glass(rng: np.random.Generator, body: Grid, lobes: Bytes) -> tuple[Field, Bits]:
    """Patches in both lungs, near the pleura and rather at the back, coarsely textured; and where they are."""
    wall = wall_distance(body, lobes > 0)
    weight = np.exp(-wall / 1.0) * np.exp(0.12 * body.y)
    left, right = (lobes > 3), (lobes > 0) & (lobes <= 3)
    sides = [left, right] if rng.random() < 0.85 else [left if rng.random() < 0.5 else right]
    sides = [side for side in sides if side.any()] or [lobes > 0]
    cover, glass = np.full(body.x.shape, -9.0), np.zeros_like(body.x)
    for side in [*sides, *[sides[int(rng.integers(len(sides)))] for _ in range(rng.integers(1, 6))]]:
        blob = patch(rng, body, pick(rng, body, weight, side), rng.uniform(1.2, 3.2), ragged=0.3)
        glass = np.maximum(glass, rng.uniform(290, 580) * soft(blob, 0.25))
        cover = np.maximum(cover, blob)
    texture = 1 + 0.25 * cloud(rng, body, 0.35)
    return glass * texture, (cover > 0) & (lobes > 0)


def _lookalikes(rng: np.random.Generator, body: Grid, lobes: Bytes, label: CtLabel, config: CtConfig) -> Field:
    """Nodule and dependent atelectasis in both classes, one solid consolidation in negatives; HU to be added."""
    value, lung = np.zeros_like(body.x), lobes > 0
    nodule, sunken, solid = rng.random(3) < config.distractors
    anywhere = np.ones_like(body.x)
    if nodule:
        place = pick(rng, body, anywhere, lung)
        value += 650 * soft(patch(rng, body, place, rng.uniform(0.4, 0.9), ragged=0.05), 0.1)
    if sunken:
        back = float(body.y[lung].max())
        value += rng.uniform(150, 350) * soft(body.y - (back - rng.uniform(0.5, 2.0)), 0.4)
    if solid and label == "non-covid":
        place = pick(rng, body, anywhere, lung)
        value += rng.uniform(350, 700) * soft(patch(rng, body, place, rng.uniform(1.2, 2.8)), 0.2)
    return value


def _table(body: Grid) -> Field:
    """The table under the patient, HU above air."""
    return np.asarray(700 * line(body.y - 13.2 + 0.006 * body.x**2, 0.3))
