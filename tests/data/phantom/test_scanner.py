import numpy as np
import pytest

from medtransfer.data.phantom.scanner import CT_OUTSIDE, CT_SCANNERS, CXR_SCANNERS, GREY_STEP, Scanner, expose
from medtransfer.data.phantom.shapes import square_grid

PLAIN = Scanner("plain", black=0, white=1, gamma=1, noise=0, grain=0.1, blur=0, sharpen=0, field=32)


def show(value, body=1.0, seed=0, **changes):
    scanner = Scanner(**{**vars(PLAIN), **changes})
    shape = np.ones((32, 32))
    return expose(np.random.default_rng(seed), scanner, square_grid(32, 32.0), value * shape, body * shape)


def test_grey_levels_are_multiples_of_the_step_from_black_to_white():
    ramp = np.linspace(-0.2, 1.2, 32)[None, :]
    grey = show(ramp)
    assert (grey % GREY_STEP == 0).all()
    assert (np.diff(grey[0].astype(int)) >= 0).all()
    assert (grey.min(), grey.max()) == (0, 252)


def test_gamma_bends_the_contrast_curve():
    assert show(0.5, gamma=2.0).mean() < show(0.5).mean() < show(0.5, gamma=0.5).mean()


def test_noise_has_its_share_of_the_range_and_stays_in_the_body():
    assert show(0.5, noise=0.1).astype(float).std() == pytest.approx(0.1 * 252, rel=0.1)
    assert show(0.5, body=0.0, noise=0.1).std() == 0


def test_sharpening_raises_the_step_at_an_edge():
    edge = np.where(np.arange(32) < 16, 0.3, 0.7)[None, :]
    assert np.ptp(show(edge, sharpen=1.0)[0]) > np.ptp(show(edge)[0])


def test_hospitals_have_names_of_their_own():
    names = [scanner.source for scanner in (*CT_SCANNERS, *CT_OUTSIDE, *CXR_SCANNERS)]
    assert len(set(names)) == len(names)
