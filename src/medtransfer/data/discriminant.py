"""Which directions of a spectrum tell images apart and survive crops and small rotations.

Linear discriminant analysis (Fisher 1936; Hastie et al., "The Elements of Statistical Learning", section 4.3.3) between
random fields with the power spectrum of natural images (amplitude ~ 1/f^1.5): the scatter within a class is that of
warped copies. Both scatters are averaged over the eight orientations, so no orientation is preferred.
It needs no data: few images are searched as well as many.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from medtransfer.data.looks import FREQUENCIES, SIDE, Floats, orientations, spectrum

DIMENSIONS = 32
FIELDS = 800
CROP, TURN = 0.05, 3.0
"""Largest crop per side as a share of the side, and largest rotation in degrees, of the copies."""
RIDGE = 1e-3


class Discriminant(NamedTuple):
    """A projection ``[80, 32]`` in which a copy's distance per direction is about 1, and the noise of a spectrum."""

    projection: Floats
    noise: Floats


@cache
def discriminant() -> Discriminant:
    """Return the projection of spectra and the standard deviation ``[80]`` of a copy's spectrum from its original's."""
    from scipy.linalg import eigh

    generator = np.random.default_rng(0)
    fields = _fields(generator)
    whole = np.tile(np.array([[0, 0, SIDE, SIDE]], np.float32), (FIELDS, 1))
    originals, copies = (spectrum(x, whole).astype(np.float64) for x in (fields, _warped(fields, generator)))
    within, total = _scatter(originals - copies), _scatter(originals)
    ridge = RIDGE * np.trace(within) / len(within) * np.eye(len(within))
    _, vectors = eigh(total, within + ridge)
    noise = np.sqrt(np.diag(within))
    return Discriminant(vectors[:, ::-1][:, :DIMENSIONS].astype(np.float32), noise.astype(np.float32))


def _scatter(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    scatter = values.T @ values / len(values)
    turned = [scatter[np.ix_(order, order)] * np.outer(signs, signs) for order, signs in orientations()]
    return np.asarray(np.mean(turned, 0))


def _fields(generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return random fields uint8 ``[N, 64, 64]`` cut out of periodic ones, so that opposite sides differ."""
    side = SIDE * 3 // 2
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = 1 / side
    noise = np.fft.rfft2(generator.normal(size=(FIELDS, side, side)))
    smooth = np.fft.irfft2(noise * frequency**-1.5, s=(side, side))[:, :SIDE, :SIDE]
    low, high = smooth.min((1, 2), keepdims=True), smooth.max((1, 2), keepdims=True)
    grey: npt.NDArray[np.uint8] = np.rint((smooth - low) / (high - low) * 255).astype(np.uint8)
    return grey


def _warped(fields: npt.NDArray[np.uint8], generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    from medtransfer.data.registration import warp

    cut = generator.uniform(0, CROP, (len(fields), 4)).astype(np.float32)
    angle = np.deg2rad(generator.uniform(-TURN, TURN, len(fields)))
    width, height = 1 - cut[:, 0] - cut[:, 2], 1 - cut[:, 1] - cut[:, 3]
    rows = [width * np.cos(angle), -np.sin(angle), cut[:, 0] - cut[:, 2]]
    rows += [np.sin(angle), height * np.cos(angle), cut[:, 1] - cut[:, 3]]
    maps = np.stack(rows, 1).reshape(-1, 2, 3).astype(np.float32)
    return np.rint(warp(fields.astype(np.float32), maps)).astype(np.uint8)


def position(vertical: int, horizontal: int) -> int:
    """Return where a frequency is in a spectrum."""
    return vertical * FREQUENCIES + horizontal - 1
