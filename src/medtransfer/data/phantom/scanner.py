"""Hospitals: a contrast curve, noise, field of view and reconstruction kernel of their own."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medtransfer.data.phantom.record import Bytes, Field
from medtransfer.data.phantom.shapes import Grid, cloud

GREY_STEP = 6


@dataclass(frozen=True)
class Scanner:
    """How one hospital turns physical values into grey levels.

    Attributes:
        source: name of the hospital.
        black: value shown as 0 (Hounsfield units for CT, relative attenuation for X-rays).
        white: value shown as 255.
        gamma: exponent of the contrast curve.
        noise: standard deviation of the noise as a share of the grey range.
        grain: width of the noise grains, cm.
        blur: width of the point spread, cm.
        sharpen: strength of the edge enhancement.
        field: width of the square field of view, cm.
    """

    source: str
    black: float
    white: float
    gamma: float
    noise: float
    grain: float
    blur: float
    sharpen: float
    field: float


CT_SCANNERS = (
    Scanner("alder", black=-1000, white=350, gamma=1.00, noise=0.045, grain=0.10, blur=0.15, sharpen=0.3, field=37.0),
    Scanner("birch", black=-1000, white=200, gamma=0.85, noise=0.050, grain=0.20, blur=0.25, sharpen=0.0, field=40.0),
    Scanner("cedar", black=-980, white=500, gamma=1.15, noise=0.035, grain=0.05, blur=0.10, sharpen=0.8, field=35.0),
)
CT_OUTSIDE = (
    Scanner("dogwood", black=-1000, white=650, gamma=0.70, noise=0.070, grain=0.15, blur=0.35, sharpen=1.2, field=43.0),
)
CXR_SCANNERS = (
    Scanner("elm", black=0.02, white=1.25, gamma=1.00, noise=0.030, grain=0.10, blur=0.10, sharpen=0.3, field=34.0),
    Scanner("fir", black=0.10, white=1.10, gamma=1.25, noise=0.040, grain=0.20, blur=0.25, sharpen=0.0, field=36.0),
    Scanner("ginkgo", black=0.00, white=1.45, gamma=0.80, noise=0.025, grain=0.05, blur=0.15, sharpen=0.8, field=32.5),
)


def expose(rng: np.random.Generator, scanner: Scanner, grid: Grid, value: Field, body: Field) -> Bytes:
    """Return the 8-bit image ``[h, w]`` of a field of physical values; ``body`` in [0, 1] says where there is noise.

    Grey levels are multiples of 6, as from a detector with few bits, so that the images compress well.
    """
    blurred = ndimage.gaussian_filter(value, scanner.blur / grid.pixel)
    sharp = blurred + scanner.sharpen * (blurred - ndimage.gaussian_filter(blurred, 0.6 / grid.pixel))
    black = scanner.black + rng.normal(0, 0.02) * (scanner.white - scanner.black)
    white = scanner.white + rng.normal(0, 0.04) * (scanner.white - scanner.black)
    noise = scanner.noise * cloud(rng, grid, scanner.grain) * body
    grey = np.clip((sharp - black) / (white - black) + noise, 0, 1) ** scanner.gamma
    return np.asarray(np.rint(grey * 252 / GREY_STEP) * GREY_STEP, dtype=np.uint8)
