import numpy as np
import pytest

from medtransfer.data.leaks import GateConfig
from medtransfer.data.phantom.ct import CtConfig, draw_ct
from medtransfer.data.phantom.scanner import CT_SCANNERS
from medtransfer.data.recall import CHANGES, recall_by_transform


@pytest.fixture(scope="module")
def slices() -> list[np.ndarray]:
    """One slice each of 20 phantom patients."""
    pairs = [(np.random.default_rng((7, i)), np.random.default_rng((8, i))) for i in range(20)]
    scanners = list(CT_SCANNERS)
    return [
        draw_ct(patient, rng, "covid" if i % 2 else "non-covid", scanners[i % len(scanners)], CtConfig()).image[None]
        for i, (patient, rng) in enumerate(pairs)
    ]


def test_default_thresholds_find_copies_and_keep_patients_apart(slices):
    found = recall_by_transform(slices, GateConfig(), np.random.default_rng(0))
    assert list(found) == [*CHANGES, "false_positives"]
    goal = [name for name in CHANGES if name not in ("cropped_10_percent_per_side", "rotated_6_degrees")]
    assert not {name: found[name] for name in goal if found[name] < 0.9}
    assert found["false_positives"] <= 0.1


def test_what_the_search_is_not_made_for_is_reported_as_missed(slices):
    found = recall_by_transform(slices, GateConfig(), np.random.default_rng(0))
    assert found["cropped_10_percent_per_side"] < 0.9


def test_an_exact_similarity_misses_changed_copies(slices):
    found = recall_by_transform(slices, GateConfig(min_similarity=0.9999), np.random.default_rng(0))
    assert found["resized"] < 0.5
