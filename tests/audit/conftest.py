import numpy as np
import pytest

from medtransfer.audit.cases import Cases
from medtransfer.audit.used import Answer

SIDE = 32


def blobs(*, count=240, marker=0.0, source=0.0, seed=0, **changes):
    """Noise with a brighter blob inside the lungs of positives, and a corner or a hospital that knows the label.

    ``marker`` and ``source`` are correlations with the label, as in the phantoms; one image in four shares its patient.
    """
    rng = np.random.default_rng(seed)
    target = np.arange(count) % 2
    images = rng.normal(100, 12, (count, 1, SIDE, SIDE))
    lungs = np.zeros((count, SIDE, SIDE), bool)
    lungs[:, 8:24, 8:24] = True
    images[:, :, 12:20, 12:20] += 10 * target[:, None, None, None]
    markers = np.zeros((count, SIDE, SIDE), bool)
    markers[:, 1:4, 1:7] = planted(rng, target, marker)[:, None, None]
    images[:, 0][markers] = 235
    hospital = planted(rng, target, source)
    images[hospital] += 4
    parts = {
        "images": np.clip(images, 0, 255).astype(np.uint8),
        "target": target,
        "patients": np.array([f"p{n // 8 * 8 + n % 8 % 6}" for n in range(count)], object),
        "attributes": {"source": np.where(hospital, "elm", "fir").astype(object)},
        "lungs": lungs,
        "markers": markers,
    }
    return Cases(**parts | changes)


def planted(rng, target, strength):
    coin = rng.random(len(target)) < 0.5
    return np.where(rng.random(len(target)) < strength, target == 1, coin)


def reader(top, left, bottom, right):
    """A model that reads the mean grey level of one part of the image, and has two features."""

    def model(images):
        part = images[:, 0, top:bottom, left:right].reshape(len(images), -1).astype(float)
        return Answer(part.mean(1), np.stack([part.mean(1), images.mean((1, 2, 3))], axis=1))

    return model


LESION = reader(12, 12, 20, 20)
CORNER = reader(0, 0, 8, 8)


@pytest.fixture(scope="session")
def clean():
    return blobs()


@pytest.fixture(scope="session")
def stamped():
    return blobs(marker=0.9)
