"""Near-duplicates: candidates by perceptual hash without comparing all pairs, confirmed by correlation of the images.

Search is multi-index hashing (Norouzi, Punjani & Fleet 2012): of more than ``max_hamming / 2`` bands, two hashes within
the radius differ in at most one bit of some band, so each band is looked up as it is and with each of its bits flipped.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from medtransfer.data.hashing import flipped_hash
from medtransfer.data.images import Pixels
from medtransfer.errors import ConfigError

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Pairs = tuple[Positions, Positions, Positions]
BITS = 64
CHUNK = 1 << 20
BANDS = 4
MIRROR = np.uint64(flipped_hash(0))


def near_pairs(hashes: Hashes, max_hamming: int) -> Pairs:
    """Return all pairs i < j of hashes ``[n]`` with their Hamming distance ≤ ``max_hamming``, sorted by i, then j.

    Raises:
        ConfigError: ``max_hamming`` is not within 0–31.
    """
    return _within(hashes, max_hamming, np.uint64(0))


def mirrored_pairs(hashes: Hashes, max_hamming: int) -> Pairs:
    """Return all pairs i < j where i is near the left-right mirror image of j, sorted by i, then j.

    Raises:
        ConfigError: ``max_hamming`` is not within 0–31.
    """
    return _within(hashes, max_hamming, MIRROR)


def correlation(a: Pixels, b: Pixels) -> npt.NDArray[np.float64]:
    """Return the normalised cross-correlation of images ``[N, H, W]``, the larger of straight and mirrored.

    Lewis 1995, "Fast normalized cross-correlation", equation 2 at zero shift; constant images give 0.
    """
    x, y = _standard(a), _standard(b)
    straight, mirrored = (x * y).sum((1, 2)), (x * y[..., ::-1]).sum((1, 2))
    best: npt.NDArray[np.float64] = np.maximum(straight, mirrored)
    return best


def _standard(images: Pixels) -> npt.NDArray[np.float64]:
    centred = images.astype(np.float64) - images.mean((1, 2), keepdims=True)
    norm = np.sqrt((centred**2).sum((1, 2), keepdims=True))
    standard: npt.NDArray[np.float64] = centred / np.where(norm > 0, norm, 1.0)
    return standard


def _within(hashes: Hashes, radius: int, mirror: np.uint64) -> Pairs:
    """Return the pairs i < j with at most ``radius`` bits set in h_i ⊕ h_j ⊕ mirror, each once."""
    if not 0 <= radius <= 31:
        raise ConfigError(f"max_hamming {radius}: expected 0 to 31 of the 64 bits; 6 to 10 is usual")
    n = len(hashes)
    codes = [np.zeros(0, np.int64)]
    for shift, width in _bands(max(BANDS, radius // 2 + 1)):
        pairs = [i * n + j for i, j in _candidates(hashes, shift, width, (radius, mirror))]
        codes.append(np.unique(np.concatenate([codes[0], *pairs])))
    i, j = np.divmod(np.unique(np.concatenate(codes)), max(1, n))
    return i, j, np.bitwise_count(hashes[i] ^ hashes[j] ^ mirror).astype(np.int64)


def _bands(count: int) -> Iterator[tuple[int, int]]:
    edges = np.linspace(0, BITS, count + 1).round().astype(int).tolist()
    for low, high in pairwise(edges):
        yield low, high - low


def _candidates(
    hashes: Hashes, shift: int, width: int, limit: tuple[int, np.uint64]
) -> Iterator[tuple[Positions, Positions]]:
    """Yield pairs i < j within the radius whose mirrored difference has at most one bit set in one band."""
    radius, mirror = limit
    band = (1 << width) - 1
    keys = ((hashes >> np.uint64(shift)) & np.uint64(band)).astype(np.int64)
    order = np.argsort(keys, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=band + 1))])
    keys, values = keys[order], hashes[order]
    # with more bands than differing bits some band has none
    for flip in [0, *(1 << bit for bit in range(width))] if radius >= BANDS else [0]:
        difference = flip ^ (int(mirror) >> shift & band)
        # a pair is met from both sides; the side without the highest differing bit is enough
        side = np.flatnonzero(keys & (1 << difference.bit_length() >> 1) == 0)
        probe = keys[side] ^ difference
        first, last = starts[probe], starts[probe + 1]
        if difference == 0:
            first = side + 1
        for part in _chunks(last - first):
            a, b = _expand(side[part], first[part], (last - first)[part])
            near = np.bitwise_count(values[a] ^ values[b] ^ mirror) <= radius
            i, j = order[a[near]], order[b[near]]
            yield np.minimum(i, j), np.maximum(i, j)


def _chunks(count: Positions) -> Iterator[slice]:
    """Cut the probes so that each part has about CHUNK candidates (more only when one probe alone has)."""
    total = np.cumsum(count)
    start = 0
    while start < len(count):
        done = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, done + CHUNK, "right")))
        yield slice(start, stop)
        start = stop


def _expand(probes: Positions, first: Positions, count: Positions) -> tuple[Positions, Positions]:
    """Return every (probe, position) of the ranges ``first`` … ``first + count``."""
    i = np.repeat(probes, count)
    offset = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
    return i, np.repeat(first, count) + offset
