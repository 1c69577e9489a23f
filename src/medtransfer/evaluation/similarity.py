"""Similarity of two networks' features on the same images: linear centred kernel alignment, CKA."""

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.errors import DataError
from medtransfer.evaluation.checks import Floats, undefined


def linear_cka(first: ArrayLike, second: ArrayLike, *, unbiased: bool = False) -> float:
    """Return linear CKA of two sets of features of the same images, all images at once.

    ``‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖)`` in Frobenius norms with centred columns (Kornblith et al. 2019, section 3). It is 1 for
    features that differ by a rotation and a common factor. With few images and many features it is near 1 even for
    unrelated features; ``unbiased`` uses the HSIC estimator of Song et al. 2012 (equation 5), whose mean is 0 for
    them, as in Nguyen et al. 2021. NaN with a warning when features do not vary.

    Args:
        first: features ``[images, n]``.
        second: features ``[images, m]``, in the same order of images.
        unbiased: whether to use the unbiased estimator; it needs at least four images.

    Raises:
        DataError: the shapes do not fit, images are too few, or a number is not finite.
    """
    x, y = _features("first", first), _features("second", second)
    least = 4 if unbiased else 2
    if len(x) != len(y) or len(x) < least:
        raise DataError(
            f"CKA: features of {len(x)} and {len(y)} images, expected the same images in both and at least "
            f"{least} of them; pass one row per image"
        )
    if unbiased:
        kernels = [_hollow(x), _hollow(y)]
        together, alone = _hsic(*kernels), [_hsic(kernel, kernel) for kernel in kernels]
    else:
        together, alone = _overlap(x, y), [_overlap(x, x), _overlap(y, y)]
    if min(alone) <= 0:
        return undefined("cka", "features do not vary between images")
    return float(together / np.sqrt(alone[0] * alone[1]))


def _features(name: str, values: ArrayLike) -> Floats:
    """Return centred float64 features; columns that do not vary are exactly 0."""
    features = np.asarray(values, np.float64)
    if features.ndim != 2:
        raise DataError(f"CKA: {name} has shape {features.shape}, expected [images, features]; pool feature maps first")
    if not np.isfinite(features).all():
        raise DataError(f"CKA: {name} holds numbers that are not finite; check the network's features")
    return np.where(np.ptp(features, axis=0) > 0, features - features.mean(0), 0.0) if len(features) else features


def _overlap(x: Floats, y: Floats) -> float:
    """Return ``‖YᵀX‖²``, computed from the smaller products."""
    if x.shape[1] * y.shape[1] <= len(x) ** 2:
        return float(np.square(y.T @ x).sum())
    return float(((x @ x.T) * (y @ y.T)).sum())


def _hollow(x: Floats) -> Floats:
    """Return inner products between different images, ``[images, images]`` with a diagonal of 0."""
    kernel: Floats = x @ x.T
    np.fill_diagonal(kernel, 0)
    return kernel


def _hsic(k: Floats, m: Floats) -> float:
    """Song et al. 2012, equation 5, times ``n (n − 3)``, which CKA cancels."""
    n = len(k)
    crossed = k.sum(0) @ m.sum(0)
    return float((k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * crossed / (n - 2))
