"""How many planted copies the near search finds, kind of change by kind of change."""

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from medtransfer.data.hashing import perceptual_hashes
from medtransfer.data.images import Pixels
from medtransfer.data.leaks import GateConfig, thumbnails
from medtransfer.data.near import MIRROR, Positions, correlation, mirrored_pairs, near_pairs

Change = Callable[[Pixels, np.random.Generator], Pixels]


def recall_by_transform(
    images: Sequence[Pixels], config: GateConfig, generator: np.random.Generator
) -> dict[str, float]:
    """Plant one changed copy of every image and return the share that the gate finds, and its false positives.

    Args:
        images: uint8 ``[1, H, W]`` of any sizes that show different things.
        config: radius and correlation under test.
        generator: draws JPEG quality, scale and brightness of every copy.

    Returns:
        ``identical``, ``reencoded`` (JPEG, quality 40–95), ``resized`` (0.4–0.9), ``flipped``, ``brightness``
        (± 5–25 of 255), and ``false_positives``: the share of images that are paired with another original.
    """
    hashes, small = perceptual_hashes(images), _thumbnails(images)
    recall: dict[str, float] = {}
    for name, change in CHANGES.items():
        copies = [change(image, generator) for image in images]
        other = perceptual_hashes(copies)
        distance = np.minimum(np.bitwise_count(hashes ^ other), np.bitwise_count(hashes ^ other ^ MIRROR))
        alike = correlation(small, _thumbnails(copies)) >= config.min_correlation
        recall[name] = float(np.mean((distance <= config.max_hamming) & alike))
    straight, mirrored = near_pairs(hashes, config.max_hamming), mirrored_pairs(hashes, config.max_hamming)
    i: Positions = np.concatenate([straight[0], mirrored[0]])
    j: Positions = np.concatenate([straight[1], mirrored[1]])
    alike = correlation(small[i], small[j]) >= config.min_correlation
    recall["false_positives"] = len(np.union1d(i[alike], j[alike])) / len(images)
    return recall


def _thumbnails(images: Sequence[Pixels]) -> Pixels:
    return np.concatenate([thumbnails(image[None]) for image in images])


def _reencode(image: Pixels, generator: np.random.Generator) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image[0]).save(buffer, "JPEG", quality=int(generator.integers(40, 96)))
    return np.asarray(Image.open(buffer))[None]


def _resize(image: Pixels, generator: np.random.Generator) -> Pixels:
    height, width = image.shape[1:]
    scale = generator.uniform(0.4, 0.9)
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image[0]).resize(sides, Image.Resampling.BICUBIC))[None]


def _brighten(image: Pixels, generator: np.random.Generator) -> Pixels:
    shift = int(generator.integers(5, 26)) * int(generator.choice([-1, 1]))
    return np.clip(image.astype(np.int16) + shift, 0, 255).astype(np.uint8)


CHANGES: dict[str, Change] = {
    "identical": lambda image, _: image.copy(),
    "reencoded": _reencode,
    "resized": _resize,
    "flipped": lambda image, _: image[..., ::-1],
    "brightness": _brighten,
}
