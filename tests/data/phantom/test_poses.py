import numpy as np
import pytest

from medtransfer.data.phantom.ct import CtConfig, draw_ct
from medtransfer.data.phantom.ct_anatomy import sample_anatomy
from medtransfer.data.phantom.poses import POSES, draw_posed
from medtransfer.data.phantom.scanner import CT_SCANNERS


@pytest.mark.parametrize(
    ("pose", "collapsed", "lies"),
    [
        ("upright", 0.0, lambda a: abs(a.turn) < 4),
        ("tilted", 0.0, lambda a: abs(a.turn) > 8),
        ("collapsed", 1.0, lambda a: a.collapsed is not None),
    ],
)
def test_slices_are_those_of_the_first_patients_who_lie_so(pose, collapsed, lies):
    rates = {"missing_rate": 0.0, "collapsed_rate": collapsed}
    numbers = [n for n in range(40) if lies(sample_anatomy(np.random.default_rng([5, n, 0]), **rates))][:3]
    config = CtConfig(missing=0.0, collapsed=collapsed)
    expected = [
        draw_ct(np.random.default_rng([5, n, 0]), np.random.default_rng([5, n, 1]), "covid", CT_SCANNERS[n % 3], config)
        for n in numbers
    ]
    for found, wanted in zip(draw_posed(pose, count=3, seed=5), expected, strict=True):
        assert np.array_equal(found.image, wanted.image)
        assert np.array_equal(found.mask, wanted.mask)


def test_another_seed_draws_other_slices():
    first, second = (draw_posed(POSES[0], count=1, seed=seed)[0].image for seed in (0, 1))
    assert not np.array_equal(first, second)
