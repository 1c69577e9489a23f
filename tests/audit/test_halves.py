"""The two halves of an audit on images whose shortcut is known, read by models whose use of it is known."""

import numpy as np
import pytest

from medtransfer.audit.offered import offered
from medtransfer.audit.used import Answer, used
from medtransfer.audit.verdicts import ALARMS

from .conftest import CORNER, LESION, blobs


def rows(half):
    return {row.name: row for row in half.rows}


def audit(cases, model):
    return used(cases, model(cases.images), model)


def test_clean_data_offer_nothing_and_a_model_of_the_lesion_uses_nothing(clean):
    assert offered(clean).verdict == "no sign"
    half = audit(clean, LESION)
    assert half.verdict == "no sign"
    assert rows(half)["model"].value > 0.95


def test_data_and_model_are_judged_apart(stamped):
    assert offered(stamped).verdict == "confounded"
    assert audit(stamped, LESION).verdict == "no sign"
    half = audit(stamped, CORNER)
    assert half.verdict == "confounded"
    for name in ("surroundings of another image", "lungs masked", "markers covered"):
        assert rows(half)[name].sign == "confounded"


def test_a_marker_without_annotation_or_mask_is_found_too(stamped):
    bare = blobs(marker=0.9, lungs=None, markers=None)
    assert rows(offered(bare))["border"].sign == "confounded"
    half = audit(bare, CORNER)
    assert rows(half)["surroundings of another image"].sign == "confounded"
    assert "not applicable" in rows(half)["lungs masked"].reason
    assert rows(half)["markers covered (bright strokes)"].sign is None  # shown, not judged: the detector errs
    assert rows(half)["markers covered (bright strokes)"].value > 0.1


def test_a_hospital_is_seen_in_the_data_and_in_the_score_between_sources():
    cases = blobs(source=0.9)
    assert rows(offered(cases))["source"].sign == "confounded"
    brightness = audit(cases, lambda images: Answer(images.mean((1, 2, 3)).astype(float)))
    assert rows(brightness)["between sources"].sign in ALARMS
    assert rows(audit(cases, LESION))["source elm"].value > 0.9


def test_a_source_is_read_from_features_within_each_class():
    found = rows(audit(blobs(source=0.3), LESION))
    for name in ("source readable", "source readable, positives", "source readable, negatives"):
        assert found[name].value > 0.9


def test_what_a_source_of_one_class_leaves_open_is_said():
    cases = blobs(source=1.0)
    half = audit(cases, LESION)
    assert half.verdict == "cannot tell"
    assert "every source holds a single class" in half.reason


def test_a_single_source_is_no_obstacle_and_is_named(clean):
    cases = blobs(attributes={"source": np.full(240, "elm", object)})
    assert offered(cases).verdict == "no sign"
    assert "not applicable: source" in offered(cases).reason
    assert "between sources" in audit(cases, LESION).reason


def test_a_constant_model_and_ten_images_cannot_tell(clean):
    constant = audit(clean, lambda images: Answer(np.full(len(images), 0.7)))
    assert (constant.verdict, constant.reason) == ("cannot tell", "the model gives every image the same score, 0.7")
    few = blobs(count=10)
    assert offered(few).verdict == audit(few, LESION).verdict == "cannot tell"
    assert "too few patients" in offered(few).reason


def test_a_model_that_knows_nothing_is_not_cleared(clean):
    rng = np.random.default_rng(0)
    half = audit(clean, lambda images: Answer(rng.random(len(images))))
    assert half.verdict == "cannot tell"
    assert "does not answer the question" in half.reason


def test_predictions_alone_give_the_sources_and_no_more(clean):
    half = used(clean, Answer(LESION(clean.images).score), None)
    assert half.verdict == "cannot tell"
    assert "only predictions are known" in half.reason
    assert set(rows(half)) == {"model", "source elm", "source fir", "between sources"}


def test_a_probe_without_a_source_is_scored_there(clean):
    refitted = rows(audit(clean, LESION))["refitted without elm"]
    assert refitted.value > 0.9
    assert refitted.images == (clean.attributes["source"] == "elm").sum()


@pytest.mark.parametrize("seed", range(3))
def test_the_surroundings_of_another_image_mean_nothing_to_a_model_of_the_lesion(seed):
    row = rows(audit(blobs(marker=0.9, seed=seed), LESION))["surroundings of another image"]
    assert row.low < 0.5 < row.high


def test_an_attribute_without_two_frequent_values_says_so(clean):
    values = np.array(["elm"] * 230 + ["fir"] * 10, object)
    row = rows(audit(blobs(attributes={"source": values}), LESION))["source readable"]
    assert row.reason == "not applicable: fewer than two values of source have 20 patients each"
