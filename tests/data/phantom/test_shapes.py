import numpy as np
import pytest

from medtransfer.data.phantom.shapes import branches, cloud, ellipse, patch, pick, soft, square_grid, wall_distance


def test_grid_is_centred_and_in_centimetres():
    grid = square_grid(5, 10.0)
    assert grid.pixel == 2.0
    np.testing.assert_allclose(grid.x[0], [-4, -2, 0, 2, 4])
    np.testing.assert_allclose(grid.y[:, 0], [-4, -2, 0, 2, 4])


def test_moved_grid_is_a_rigid_motion():
    grid = square_grid(16, 10.0)
    moved = grid.moved(1.0, -2.0, degrees=30)
    np.testing.assert_allclose(np.hypot(moved.x, moved.y), np.hypot(grid.x - 1.0, grid.y + 2.0))


def test_circle_depth_is_exact():
    grid = square_grid(32, 10.0)
    np.testing.assert_allclose(ellipse(grid, (1, 2), (3, 3)), 3 - np.hypot(grid.x - 1, grid.y - 2), atol=1e-12)


def test_soft_step_is_half_on_the_outline_and_rises():
    depth = np.linspace(-3, 3, 7)
    step = soft(depth, 0.5)
    assert step[3] == 0.5
    assert (np.diff(step) > 0).all()


def test_cloud_has_mean_zero_and_unit_deviation():
    noise = cloud(np.random.default_rng(0), square_grid(48, 30.0), 1.0)
    assert noise.mean() == pytest.approx(0, abs=1e-12)
    assert noise.std() == pytest.approx(1)


def test_patch_without_ragged_edge_is_an_ellipse_around_its_centre():
    grid = square_grid(101, 20.0)
    depth = patch(np.random.default_rng(0), grid, (2.0, -3.0), 3.0, ragged=0.0)
    inside = depth > 0
    assert grid.x[inside].mean() == pytest.approx(2.0, abs=0.2)
    assert grid.y[inside].mean() == pytest.approx(-3.0, abs=0.2)
    assert inside.sum() * grid.pixel**2 == pytest.approx(np.pi * 9, rel=0.05)


def test_branches_stay_within_zero_and_one_and_thin_out():
    grid = square_grid(64, 30.0)
    vessels = branches(np.random.default_rng(0), grid, (0, 0), 60, reach=10)
    radius = np.hypot(grid.x, grid.y)
    assert vessels.min() >= 0
    assert vessels.max() <= 1
    assert vessels[radius < 5].mean() > vessels[(radius > 11)].mean()


def test_pick_stays_in_the_region_and_follows_the_weight():
    grid, rng = square_grid(16, 16.0), np.random.default_rng(0)
    region = grid.x > 0
    places = np.array([pick(rng, grid, np.where(grid.y > 0, 9.0, 1.0), region) for _ in range(400)])
    assert (places[:, 0] > 0).all()
    assert (places[:, 1] > 0).mean() == pytest.approx(0.9, abs=0.05)


def test_wall_distance_is_in_centimetres():
    grid = square_grid(21, 42.0)
    assert wall_distance(grid, np.abs(grid.x) < 9)[10, 10] == pytest.approx(10.0)
