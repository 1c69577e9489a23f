"""CT phantoms of patients in a chosen pose: the location of lobes is checked for each pose separately."""

from collections.abc import Iterator
from itertools import count as natural_numbers
from itertools import islice
from typing import Literal

import numpy as np

from medtransfer.data.phantom.ct import CtConfig, draw_ct
from medtransfer.data.phantom.ct_anatomy import CtAnatomy, sample_anatomy
from medtransfer.data.phantom.record import Phantom
from medtransfer.data.phantom.scanner import CT_SCANNERS

Pose = Literal["upright", "tilted", "collapsed"]
POSES: tuple[Pose, ...] = ("upright", "tilted", "collapsed")
STRAIGHT, TILTED = 4.0, 8.0
"""Degrees: an upright patient is turned by less than the first, a tilted one by more than the second."""


def draw_posed(pose: Pose, *, count: int, seed: int) -> list[Phantom]:
    """Draw slices of as many patients with lesions, all five lobes, and one pose.

    Args:
        pose: ``upright``, ``tilted``, or ``collapsed``: turned as may be, with one lobe collapsed.
        count: patients, a slice each, from the sample's scanners in turn.
        seed: the same seed gives the same slices.
    """
    config = CtConfig(missing=0.0, collapsed=float(pose == "collapsed"))
    return [
        draw_ct(
            _patient(seed, n), np.random.default_rng([seed, n, 1]), "covid", CT_SCANNERS[n % len(CT_SCANNERS)], config
        )
        for n in islice(_patients(pose, seed, config), count)
    ]


def _patients(pose: Pose, seed: int, config: CtConfig) -> Iterator[int]:
    """Yield the numbers of the patients in a pose."""
    for n in natural_numbers():
        anatomy = sample_anatomy(_patient(seed, n), missing_rate=config.missing, collapsed_rate=config.collapsed)
        if pose == "collapsed" or _lies(anatomy, pose):
            yield n


def _lies(anatomy: CtAnatomy, pose: Pose) -> bool:
    turn = abs(anatomy.turn)
    return turn < STRAIGHT if pose == "upright" else turn > TILTED


def _patient(seed: int, n: int) -> np.random.Generator:
    return np.random.default_rng([seed, n, 0])
