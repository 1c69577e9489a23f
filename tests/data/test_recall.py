import numpy as np
import pytest

from medtransfer.data.leaks import GateConfig
from medtransfer.data.phantom.ct import CtConfig, draw_ct
from medtransfer.data.phantom.scanner import CT_SCANNERS
from medtransfer.data.recall import recall_by_transform


@pytest.fixture(scope="module")
def slices() -> list[np.ndarray]:
    """One slice each of 60 phantom patients."""
    pairs = [(np.random.default_rng((7, i)), np.random.default_rng((8, i))) for i in range(60)]
    scanners = list(CT_SCANNERS)
    return [
        draw_ct(patient, rng, "covid" if i % 2 else "non-covid", scanners[i % len(scanners)], CtConfig()).image[None]
        for i, (patient, rng) in enumerate(pairs)
    ]


def test_default_thresholds_find_copies_and_keep_patients_apart(slices):
    found = recall_by_transform(slices, GateConfig(), np.random.default_rng(0))
    assert {found[name] for name in ("identical", "reencoded", "resized", "flipped")} == {1.0}
    assert found["brightness"] >= 0.95
    assert found["false_positives"] <= 0.05


def test_the_hash_alone_has_false_positives_that_the_correlation_removes(slices):
    loose = recall_by_transform(slices, GateConfig(max_hamming=16, min_correlation=0), np.random.default_rng(0))
    strict = recall_by_transform(slices, GateConfig(max_hamming=16), np.random.default_rng(0))
    assert loose["false_positives"] > strict["false_positives"]


def test_a_closed_radius_misses_changed_copies(slices):
    found = recall_by_transform(slices, GateConfig(max_hamming=0, min_correlation=1), np.random.default_rng(0))
    assert found["resized"] < 0.5
