"""Images for tests of the near search."""

import numpy as np


def smooth(count: int, seed: int = 0, side: int = 96) -> np.ndarray:
    """Random images uint8 ``[N, 1, side, side]`` with structure at all scales."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = 1 / side
    noise = np.fft.rfft2(rng.normal(size=(count, side, side)))
    field = np.fft.irfft2(noise * frequency**-1.5, s=(side, side))
    low, high = field.min((1, 2), keepdims=True), field.max((1, 2), keepdims=True)
    return np.rint((field - low) / (high - low) * 255).astype(np.uint8)[:, None]
