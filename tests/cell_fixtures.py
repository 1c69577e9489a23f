"""Cells whose samples are made up."""

import numpy as np
import pytest

from medtransfer.evaluation.cells import Cell
from medtransfer.evaluation.summary import Sample


@pytest.fixture(scope="session")
def flat_sample():
    """Two seeds with 200 resamples around a level."""

    def make(level, wobble=1e-4, seed=0):
        noise = np.random.default_rng(seed).normal(size=(2, 200)) * wobble
        return Sample(np.full(2, level), level + noise, "", (60, 60))

    return make


@pytest.fixture(scope="session")
def flat_cell(flat_sample):
    """A cell of two images whose AUROC and AUPRC are around a level, or have a given sample."""

    def make(level, wobble=1e-4, seed=0, *, sample=None, **changes):
        sample = sample or flat_sample(level, wobble, seed)
        names = {"variant": "v", "condition": "c", "dataset": "toy", "split": "test", "kind": "probability"}
        images = {
            "seeds": (0, 1),
            "outputs": ("ill",),
            "images": np.array(["i/0", "i/1"], object),
            "patients": np.array(["p/0", "p/1"], object),
            "scores": np.full((2, 2, 1), 0.5),
            "target": np.array([[0.0], [1.0]]),
        }
        samples = {"auroc": sample, "auprc": sample}
        measured = {"task": "binary", "samples": samples, "by_output": {"ill": samples}, "thresholds": {}}
        return Cell(**names | images | measured | {"neg_pos_ratio": None} | changes)

    return make
