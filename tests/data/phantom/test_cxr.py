import numpy as np
import pytest

from medtransfer.data.phantom.cxr import FINDINGS, CxrConfig, draw_cxr, severity_zones
from medtransfer.data.phantom.record import LESION, LUNG, lesions, lungs
from medtransfer.data.phantom.scanner import CXR_SCANNERS


def draw(number, label="covid", **parameters):
    patient, image = np.random.default_rng([1, number]), np.random.default_rng([2, number])
    return draw_cxr(patient, image, label, CXR_SCANNERS[number % 3], CxrConfig(**parameters))


def test_same_streams_give_the_same_image():
    assert (draw(2).image == draw(2).image).all()
    assert (draw(2).image != draw(3).image).any()


@pytest.mark.parametrize("label", ["normal", "pneumonia", "covid"])
def test_mask_has_lungs_without_lobes_and_lesions_only_in_the_sick(label):
    for number in range(9):
        mask = draw(number, label).mask
        assert set(np.unique(mask & 7)) == {0, LUNG}
        assert lesions(mask).any() == (label != "normal")
        assert lungs(mask)[lesions(mask)].all()


def test_covid_is_on_both_sides_and_rather_low_pneumonia_on_one_side():
    zones = {
        label: np.array([severity_zones(draw(n, label).mask, 0.02) for n in range(30)])
        for label in ("covid", "pneumonia")
    }
    both = {label: (z[:, :3].any(axis=1) & z[:, 3:].any(axis=1)).mean() for label, z in zones.items()}
    assert both["covid"] > 0.9
    assert both["pneumonia"] < 0.1
    assert zones["covid"][:, [2, 5]].mean() > zones["covid"][:, [0, 3]].mean() + 0.3


def test_findings_say_what_was_drawn():
    assert {name: draw(1, "covid").findings[name] for name in FINDINGS[:2]} == {"opacity": 1.0, "consolidation": 0.0}
    assert draw(1, "normal", cardiomegaly=1.0).findings["cardiomegaly"] == 1.0
    assert draw(1, "normal", effusion=0.0).findings["effusion"] == 0.0


def test_an_enlarged_heart_leaves_less_lung():
    area = [np.mean([lungs(draw(n, "normal", cardiomegaly=rate).mask).sum() for n in range(9)]) for rate in (0.0, 1.0)]
    assert area[1] < area[0]


def test_both_views_occur():
    assert {draw(number).view for number in range(12)} == {"PA", "AP"}


def two_lungs():
    mask = np.zeros((40, 40), dtype=np.uint8)
    mask[5:35, 4:16] = mask[5:35, 24:36] = LUNG
    return mask


@pytest.mark.parametrize("zone", range(6))
def test_each_zone_is_found_where_the_lesion_lies(zone):
    mask = two_lungs()
    top, left = 5 + 10 * (zone % 3) + 4, 8 if zone < 3 else 28
    mask[top : top + 3, left : left + 3] |= LESION
    assert severity_zones(mask, 0.02) == tuple(float(number == zone) for number in range(6))


def test_a_zone_needs_its_share_of_lesion():
    mask = two_lungs()
    mask[6, 5] |= LESION
    assert severity_zones(mask, 1 / 120)[0] == 1.0
    assert severity_zones(mask, 1.01 / 120)[0] == 0.0


def test_zones_agree_with_a_count_pixel_by_pixel():
    mask = draw(7).mask
    height, width = mask.shape
    lung_columns = [x for x in range(width) if any(mask[y, x] & 7 for y in range(height))]
    middle = sum(lung_columns) / len(lung_columns)
    expected = []
    for right in (True, False):
        pixels = [(y, x) for y in range(height) for x in range(width) if mask[y, x] & 7 and (x < middle) == right]
        top, bottom = min(y for y, _ in pixels), max(y for y, _ in pixels) + 1
        for third in range(3):
            start, stop = (round(top + (bottom - top) * cut / 3) for cut in (third, third + 1))
            zone = [mask[y, x] for y, x in pixels if start <= y < stop]
            expected.append(float(sum(bool(value & 8) for value in zone) / len(zone) >= 0.02))
    assert severity_zones(mask, 0.02) == tuple(expected)
