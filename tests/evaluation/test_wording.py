"""What validation images say of a probability."""

import pandas as pd

from medtransfer.evaluation.wording import calibration_words

ROWS = [("covid", "probability", 0.65, 1.0)] * 9 + [("covid", "probability", 0.75, 0.0)] * 3
ROWS += [("covid", "probability", 0.1, 0.0)] * 4 + [("covid", "probability", 1.0, 1.0)] * 10
ROWS += [("covid", "probability", 0.65, float("nan")), ("zone_0", "severity", 0.65, 1.0)]
VALIDATION = pd.DataFrame(ROWS, columns=["output", "kind", "score", "target"])


def test_counted_images_or_uncalibrated():
    said = calibration_words({"covid": 0.7}, VALIDATION)["covid"]
    assert said == "of 12 validation images with a score of 0.6 to 0.8, 9 were covid (75%)"
    assert (
        "of 10 validation images with a score of 0.8 to 1.0" in calibration_words({"covid": 1.0}, VALIDATION)["covid"]
    )
    for scores, table, why in (
        ({"covid": 0.1}, VALIDATION, "only 4 validation images"),
        ({"zone_0": 0.65}, VALIDATION, "not measured"),
        ({"covid": 0.7}, None, "no validation predictions"),
    ):
        (said,) = calibration_words(scores, table).values()
        assert said.startswith("how often such a score is right is not known: ")
        assert why in said


def test_nothing_is_said_of_the_complement_of_a_measured_probability():
    pairs = [("non-covid", "covid")]
    scores = {"non-covid": 0.3, "covid": 0.7}
    assert list(calibration_words(scores, VALIDATION, pairs=pairs)) == ["covid"]
    assert list(calibration_words(scores, VALIDATION)) == ["non-covid", "covid"]
    nowhere = VALIDATION[VALIDATION["output"] != "covid"]
    assert list(calibration_words(scores, nowhere, pairs=pairs)) == ["non-covid", "covid"]
