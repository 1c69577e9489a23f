"""Frontal chest X-rays as sums of attenuation: normal, one focal pneumonia, or bilateral peripheral COVID-19 opacities.

Coordinates in cm: x to the patient's left (image right), y downwards; the image's left is the patient's right.
"""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field as Bound

from medtransfer.config import Config
from medtransfer.data.phantom.record import LESION, LUNG, Bits, Bytes, Field, Phantom, lesions, lungs
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

CxrLabel = Literal["normal", "pneumonia", "covid"]
View = Literal["PA", "AP"]
FINDINGS = ("opacity", "consolidation", "cardiomegaly", "effusion")


class CxrConfig(Config):
    """How X-rays are drawn.

    Attributes:
        size: height and width, pixels.
        visibility: factor on the contrast of opacities and consolidations; 0 makes them invisible.
        cardiomegaly: chance of an enlarged heart, the same in all classes.
        effusion: chance of a pleural effusion on one side, the same in all classes.
        zone_share: smallest share of a lung zone that the lesion covers in an affected zone.
    """

    size: int = Bound(default=96, ge=32)
    visibility: float = Bound(default=1.0, ge=0)
    cardiomegaly: float = Bound(default=0.2, ge=0, le=1)
    effusion: float = Bound(default=0.12, ge=0, le=1)
    zone_share: float = Bound(default=0.02, gt=0, lt=1)


@dataclass(frozen=True)
class CxrAnatomy:
    """One patient's chest: size, turn in degrees, heart size, diaphragm, spacing and slope of the ribs."""

    scale: float
    turn: float
    shift: tuple[float, float]
    heart: float
    enlarged: bool
    dome: float
    rib_gap: float
    rib_fall: float
    soft_tissue: float


def sample_anatomy(rng: np.random.Generator, config: CxrConfig) -> CxrAnatomy:
    """Draw one patient."""
    enlarged = bool(rng.random() < config.cardiomegaly)
    return CxrAnatomy(
        scale=float(np.clip(rng.normal(1.0, 0.06), 0.85, 1.15)),
        turn=float(np.clip(rng.normal(0, 3), -9, 9)),
        shift=(rng.normal(0, 0.7), rng.normal(0, 0.8)),
        heart=rng.uniform(1.25, 1.4) if enlarged else rng.uniform(0.85, 1.05),
        enlarged=enlarged,
        dome=rng.normal(9.0, 0.7),
        rib_gap=rng.uniform(2.2, 2.6),
        rib_fall=rng.uniform(0.15, 0.4),
        soft_tissue=rng.uniform(0.75, 0.95),
    )


def draw_cxr(
    patient: np.random.Generator,
    rng: np.random.Generator,
    label: CxrLabel,
    scanner: Scanner,
    config: CxrConfig,
) -> Phantom:
    """Draw one X-ray.

    Args:
        patient: stream that fixes the anatomy; the same stream gives the same patient.
        rng: stream of everything that differs between two images of a patient: view, lesions, noise.
        label: class.
        scanner: hospital.
        config: sizes and chances.

    Returns:
        The image; its mask has value 6 in the lungs and the lesion bit on opacities and consolidations.
    """
    anatomy = sample_anatomy(patient, config)
    view: View = "AP" if rng.random() < 0.4 else "PA"
    grid = square_grid(config.size, scanner.field)
    seen = grid.moved(*anatomy.shift, degrees=anatomy.turn)
    body = Grid(seen.x / anatomy.scale, seen.y / anatomy.scale, seen.pixel)
    depth = _lung_depth(anatomy, body, view)
    lung = depth > 0
    added, lesion = _lesion(rng, body, lung, label)
    fluid, effusion = _effusion(rng, anatomy, body, config)
    value = _chest(rng, anatomy, body, view, depth)
    value += soft(depth, 0.2) * (config.visibility * added + 0.16 * branches(rng, body, (-3.5, -1.0), 50, reach=9))
    value += soft(depth, 0.2) * (0.16 * branches(rng, body, (3.8, -1.5), 50, reach=9) + fluid)
    torso = soft(_torso(body), 0.3)
    image = expose(rng, scanner, grid, value * torso, torso)
    mask = LUNG * lung.astype(np.uint8) + LESION * lesion.astype(np.uint8)
    drawn = (label == "covid", label == "pneumonia", anatomy.enlarged, effusion)
    return Phantom(
        image, mask, label, scanner.source, view, {name: float(yes) for name, yes in zip(FINDINGS, drawn, strict=True)}
    )


def severity_zones(mask: Bytes, share: float) -> tuple[float, ...]:
    """Return 1.0 or 0.0 for six zones: patient's right upper, middle, lower, then left upper, middle, lower.

    Each lung is cut into thirds of its own height; a zone counts when the lesion covers at least ``share`` of its area.

    Args:
        mask: ``[h, w]`` uint8 mask of an image in which the lungs lie on either side of the midline.
        share: smallest covered share of a zone.
    """
    middle = float(np.flatnonzero(lungs(mask).any(axis=0)).mean())
    columns = np.arange(mask.shape[1])[None, :]
    zones = []
    for side in (columns < middle, columns >= middle):
        lung = lungs(mask) & side
        rows = np.flatnonzero(lung.any(axis=1))
        cuts = np.linspace(rows[0], rows[-1] + 1, 4).round().astype(int)
        for top, bottom in itertools.pairwise(cuts):
            zone = lung[top:bottom]
            zones.append(float((lesions(mask)[top:bottom] & zone).sum() >= share * zone.sum()))
    return tuple(zones)


def _torso(body: Grid) -> Field:
    shoulders = ellipse(body, (0, 13.0), (17.5, 28.5), 4.5) - 0.004 * body.x**2
    return np.maximum(shoulders, 4.0 - np.abs(body.x))


def _heart_depth(anatomy: CxrAnatomy, body: Grid, view: View) -> Field:
    size = anatomy.heart * (1.15 if view == "AP" else 1.0)
    heart = ellipse(body.moved(1.6 * size, 4.6, 30), (0, 0), (6.0 * size, 4.4 * size))
    return np.maximum(heart, 2.4 + 0.05 * body.y - np.abs(body.x - 0.3))


def _lung_depth(anatomy: CxrAnatomy, body: Grid, view: View) -> Field:
    """Two lungs that narrow to the apex, cut by the domes of the diaphragm (right higher), heart and mediastinum."""
    raised = 1.2 if view == "AP" else 0.0
    sides = []
    for side in (-1, 1):
        middle = side * (6.9 + 0.16 * body.y)
        lung = ellipse(Grid(body.x - middle, body.y, body.pixel), (0, 0.5), (5.7, 13.2), 2.4)
        top = anatomy.dome - raised + (0.9 if side > 0 else 0.0)
        dome = body.y - (top + 0.07 * (body.x - side * 5.5) ** 2)
        sides.append(np.minimum(lung, -dome))
    return np.minimum(np.maximum(*sides), -_heart_depth(anatomy, body, view))


def _chest(rng: np.random.Generator, anatomy: CxrAnatomy, body: Grid, view: View, depth: Field) -> Field:
    """Attenuation of the healthy chest: soft tissue less the air of the lungs, heart, spine, ribs, collar bones."""
    value = anatomy.soft_tissue + 0.04 * cloud(rng, body, 2.5) - 0.5 * soft(depth - 0.4, 0.5)
    value += 0.16 * soft(_heart_depth(anatomy, body, view), 0.3)
    value += 0.10 * soft(1.7 - np.abs(body.x), 0.3) * (1 + 0.25 * np.cos(2 * np.pi * body.y / 2.4))
    value += 0.12 * soft(ellipse(body, (2.6, -5.2), (1.9, 1.9)), 0.3) - 0.12 * soft(0.8 - np.abs(body.x), 0.2) * (
        body.y < -4
    )
    value += _ribs(anatomy, body) * soft(_torso(body) - 1.5, 0.5)
    for side in (-1, 1):
        collar = body.y + 10.2 + 0.2 * (side * body.x - 1.0)
        value += 0.16 * line(collar, 0.42) * soft((side * body.x - 1.0) * (14.0 - side * body.x), 2.0)
        if view == "AP":
            blade = ellipse(body.moved(side * 11.0, -5.0, side * 20), (0, 0), (2.6, 5.5))
            value += 0.07 * soft(blade, 0.2)
    return np.asarray(value)


def _ribs(anatomy: CxrAnatomy, body: Grid) -> Field:
    """Posterior ribs that fall to the side in an arc, and fainter anterior ribs that fall to the middle."""
    across = np.abs(body.x)
    total = np.zeros_like(across)
    reach = soft(ellipse(body, (0, 2), (13.8, 15.0), 2.5), 0.3) * soft(across - 1.5, 0.3)
    for number in range(9):
        y = -11.0 + number * anatomy.rib_gap
        total += 0.11 * line(body.y - (y - 0.25 * across + 0.035 * anatomy.rib_fall / 0.25 * across**2), 0.35)
        total += 0.05 * line(body.y - (y + 5.0 - anatomy.rib_fall * (across - 6.0)), 0.4) * soft(across - 4.0, 1.0)
    return np.asarray(total * reach)


def _lesion(rng: np.random.Generator, body: Grid, lung: Bits, label: CxrLabel) -> tuple[Field, Bits]:
    """Return the added attenuation of the label's lesion and where it is, both ``[h, w]``."""
    added, cover = np.zeros_like(body.x), np.full(body.x.shape, -9.0)
    if label == "pneumonia":
        place = pick(rng, body, np.ones_like(body.x), lung)
        cover = patch(rng, body, place, rng.uniform(2.0, 4.0))
        added = rng.uniform(0.32, 0.48) * soft(cover, 0.35)
    elif label == "covid":
        weight = np.exp(-wall_distance(body, lung) / 1.5) * np.exp(0.14 * body.y) * (np.abs(body.x) > 5.5)
        sides = [lung & (body.x < 0), lung & (body.x > 0)]
        for side in [*sides, *[sides[int(rng.integers(2))] for _ in range(rng.integers(0, 7))]]:
            blob = patch(rng, body, pick(rng, body, weight + 1e-9, side), rng.uniform(1.5, 3.2), ragged=0.35)
            added = np.maximum(added, rng.uniform(0.22, 0.42) * soft(blob, 0.5))
            cover = np.maximum(cover, blob)
        added *= 1 + 0.2 * cloud(rng, body, 0.6)
    return added, (cover > 0) & lung


def _effusion(rng: np.random.Generator, anatomy: CxrAnatomy, body: Grid, config: CxrConfig) -> tuple[Field, bool]:
    """Fluid that fills one costophrenic angle up to a meniscus; attenuation to be added, and whether there is any."""
    present, side, height = bool(rng.random() < config.effusion), rng.choice((-1, 1)), rng.uniform(1.0, 4.0)
    if not present:
        return np.zeros_like(body.x), False
    level = anatomy.dome + 1.0 - height - 0.25 * (side * body.x - 6.0)
    return 0.4 * soft(body.y - level, 0.3) * (side * body.x > 0), True
