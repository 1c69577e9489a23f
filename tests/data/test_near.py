import time

import numpy as np
import pytest

from medtransfer.data.hashing import flipped_hash
from medtransfer.data.near import correlation, mirrored_pairs, near_pairs
from medtransfer.errors import ConfigError

MIRROR = np.uint64(flipped_hash(0))


def clustered(n: int, seed: int = 0) -> np.ndarray:
    """Random hashes; half are copies of a few with 0 to 11 changed bits."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
    hashes[n // 2 :] = hashes[rng.integers(0, n // 20, n - n // 2)]
    for _ in range(11):
        bits = np.uint64(1) << rng.integers(0, 64, n - n // 2, dtype=np.uint64)
        hashes[n // 2 :] ^= np.where(rng.random(n - n // 2) < 0.3, bits, np.uint64(0))
    return hashes


@pytest.mark.parametrize("radius", [0, 1, 3, 4, 8, 11, 16])
@pytest.mark.parametrize(("search", "mirror"), [(near_pairs, np.uint64(0)), (mirrored_pairs, MIRROR)])
def test_pairs_equal_those_of_comparing_all(search, mirror, radius):
    hashes = clustered(600)
    hashes[::7] ^= MIRROR
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None] ^ mirror)
    expected = np.nonzero(np.triu(distance <= radius, 1))
    i, j, found = search(hashes, radius)
    assert len(i) > 0
    np.testing.assert_array_equal((i, j), expected)
    np.testing.assert_array_equal(found, distance[expected])


@pytest.mark.parametrize("hashes", [[], [5]])
def test_fewer_than_two_hashes_have_no_pairs(hashes):
    assert [len(part) for part in near_pairs(np.array(hashes, np.uint64), 8)] == [0, 0, 0]


def test_a_radius_of_half_the_bits_is_refused():
    with pytest.raises(ConfigError, match="max_hamming 32: expected 0 to 31 of the 64 bits"):
        near_pairs(np.zeros(2, np.uint64), 32)


@pytest.mark.slow
def test_two_hundred_thousand_hashes_take_less_than_a_minute():
    hashes = clustered(200_000)
    start = time.perf_counter()
    pairs = len(near_pairs(hashes, 8)[0]) + len(mirrored_pairs(hashes, 8)[0])
    assert time.perf_counter() - start < 60
    assert pairs > 50_000


def test_correlation_is_that_of_the_textbook_and_sees_mirrors():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 4, 8, 8)).astype(np.uint8)
    straight = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    mirrored = [np.corrcoef(x.ravel(), y[:, ::-1].ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(correlation(a, b), np.maximum(straight, mirrored), atol=1e-12)
    np.testing.assert_allclose(correlation(a, a[..., ::-1]), 1.0)


def test_constant_pictures_correlate_with_nothing():
    flat = np.full((1, 8, 8), 7, np.uint8)
    assert correlation(flat, flat).tolist() == [0.0]
