import numpy as np
import pytest

from medtransfer.audit.descriptors import statistics, thumbnail
from medtransfer.audit.offered import offered
from medtransfer.audit.probes import codes, enough, fitted, held_out
from medtransfer.evaluation.binary import auroc

from .conftest import blobs


def test_a_thumbnail_is_the_mean_of_the_kept_pixels():
    image = np.zeros((1, 64, 64), np.float32)
    image[0, 0, 0], image[0, 0, 1] = 1, 0.5
    keep = np.ones((1, 64, 64), bool)
    assert thumbnail(image)[0, 0] == pytest.approx(1.5 / 4)
    keep[0, 1] = False
    assert thumbnail(image, keep)[0, 0] == pytest.approx(1.5 / 2)
    keep[0, :2, :2] = False
    assert thumbnail(image, keep)[0, 0] == 0


def test_a_small_image_has_a_thumbnail_of_the_usual_size():
    assert thumbnail(np.random.default_rng(0).random((2, 20, 20)).astype(np.float32)).shape == (2, 32 * 32)


def test_statistics_of_kept_pixels_do_not_know_the_others(clean):
    keep = np.broadcast_to(~clean.lungs[0], clean.lungs.shape)
    other = clean.grey.copy()
    other[:, 12:20, 12:20] = 0.9  # away from the edge of what is kept: edges and detail look at neighbours
    np.testing.assert_allclose(statistics(other, keep), statistics(clean.grey, keep), atol=1e-6)


def test_statistics_see_a_marker_that_wanders():
    rng, grey = np.random.default_rng(0), np.zeros((200, 32, 32), np.float32) + 0.4
    grey += rng.normal(0, 0.03, grey.shape).astype(np.float32)
    target = np.arange(200) % 2
    for place in np.flatnonzero(target):
        y, x = rng.integers(0, 28, 2)
        grey[place, y : y + 2, x : x + 3] = 0.95
    scores = held_out([statistics(grey)], target, np.arange(200).astype(object))
    assert auroc(target, scores[:, 1]) > 0.95


def test_a_probe_never_sees_the_patient_that_it_scores():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 4)
    names = np.eye(60)[patients] + rng.normal(0, 1e-3, (240, 60))  # features that name the patient and nothing else
    target = (patients % 2).astype(int)
    scores = held_out([names], target, patients.astype(object))
    assert auroc(target, scores[:, 1]) < 0.6
    own = fitted(names, target, names, classes=2)
    assert auroc(target, own[:, 1]) > 0.99


def test_features_without_any_difference_say_nothing():
    target = np.arange(100) % 2
    assert not held_out([np.ones((100, 5))], target, np.arange(100).astype(object)).any()


def test_enough_counts_patients_not_images():
    target, patients = np.arange(80) % 2, np.array([f"p{n % 10}" for n in range(80)], object)
    assert enough(target, patients, fewest=5) == ""
    assert "too few patients: 5" in enough(target, patients, fewest=20)
    assert enough(np.ones(80, int), patients, fewest=1) == "a single class"


def test_images_of_unknown_patients_are_never_probed(clean):
    unknown = np.where(np.arange(240) == 7, "", clean.patients).astype(object)
    assert "no patient ids" in enough(clean.target, unknown, fewest=1)
    half = offered(blobs(patients=unknown))
    assert (half.verdict, half.rows) == ("cannot tell", ())


def test_rare_and_unknown_values_of_an_attribute_are_left_out():
    values = np.array(["PA"] * 30 + ["AP"] * 25 + [""] * 5 + ["L"] * 2, object)
    labels, keep = codes(values, np.arange(62).astype(object), fewest=20)
    assert keep.sum() == 55
    assert np.bincount(labels).tolist() == [25, 30]


def test_the_source_alone_is_read(clean):
    cases = blobs(source=1.0)
    source = (cases.attributes["source"] == "elm").astype(int)
    assert auroc(cases.target, held_out([source[:, None].astype(float)], cases.target, cases.patients)[:, 1]) == 1
