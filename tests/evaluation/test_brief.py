"""The committed numbers of a study: one row per variant, of the condition that validation chose."""

from medtransfer.evaluation.brief import brief


def entry(mean, *, low=None, kinds=("probability",)):
    block = {"metrics": {"auroc": {"mean": mean, "per_seed": [mean], "low": low, "high": low}, "ece": {"mean": 0.5}}}
    return {"seeds": [0], "images": 7} | dict.fromkeys(kinds, block)


CARD = {
    "a/x/ct/val": entry(0.9),
    "a/x/ct/test": entry(0.61239, low=0.5),
    "a/y/ct/val": entry(0.8),
    "a/y/ct/test": entry(0.99),
    "b/x/ct/val": entry(None),
    "b/x/ct/test": entry(0.99),
}


def test_validation_chooses_the_condition_and_test_rows_are_shown_rounded():
    rows = brief(CARD, [("a", "x"), ("a", "y")], dataset="ct", metric="auroc")
    assert rows == {"a": {"condition": "x", "auroc": 0.612, "auroc_low": 0.5, "auroc_high": 0.5, "images": 7}}


def test_a_variant_without_a_validation_value_has_no_row():
    assert set(brief(CARD, [("b", "x"), ("a", "y")], dataset="ct", metric="auroc")) == {"a"}


def test_errors_of_the_severity_head_are_named_after_it():
    severity = {"metrics": {"mse": {"mean": 4.46}}}
    card = {key: {**value, "severity": severity} for key, value in CARD.items()}
    assert brief(card, [("a", "x")], dataset="ct", metric="auroc")["a"]["mse_severity"] == 4.46
