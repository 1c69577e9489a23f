import pytest

from medtransfer.audit.offered import offered
from medtransfer.audit.record import add_audit, audit_entry, audit_tag, gravest, read_audits
from medtransfer.audit.used import Answer, used
from medtransfer.errors import DataError
from medtransfer.reporting.audit import audit_content, audit_sentence, audit_table
from medtransfer.reporting.page import render_html, render_markdown

from .conftest import LESION


@pytest.fixture(scope="module")
def entry(clean):
    halves = offered(clean), used(clean, Answer(LESION(clean.images).score), None)
    names = {"name": "models:/toy@champion", "weights": "abc", "dataset": "toy", "positive": "covid", "left_out": 3}
    return audit_entry(*halves, clean, **names)


def test_an_audit_takes_the_place_of_an_earlier_one_of_the_same_model_and_images(entry, tmp_path):
    file = tmp_path / "metrics" / "audit.json"
    add_audit(file, entry)
    add_audit(file, entry | {"name": "other"})
    add_audit(file, entry | {"left_out": 4})
    assert [(one["name"], one["left_out"]) for one in read_audits(file)] == [
        ("other", 3),
        ("models:/toy@champion", 4),
    ]
    assert read_audits(file)[1]["data"]["verdict"] == "no sign"


def test_a_file_of_another_kind_is_not_overwritten(entry, tmp_path):
    (tmp_path / "audit.json").write_text("[1]")
    with pytest.raises(DataError, match="not the medtransfer-audit-1"):
        add_audit(tmp_path / "audit.json", entry)
    assert (tmp_path / "audit.json").read_text() == "[1]"


def test_the_page_says_both_verdicts_the_rule_and_the_limits(entry):
    content = audit_content([entry], title="Audit", limits=(0.7, 0.55, 0.1, 0.02), phantoms=True)
    html, text = render_html(content), render_markdown(content)
    assert "\nDoes the data offer a shortcut? No sign in: source, border" in text
    assert "Cannot tell: only predictions are known" in text
    assert "interval is above 0.7 (an AUROC) or 0.1 (a difference)" in text
    assert "models:/toy@champion" in html
    assert "none shows a patient" in html


def test_a_half_in_which_nothing_was_tested_says_why_in_place_of_the_rule(entry):
    untested = {"verdict": "cannot tell", "reason": "too few patients", "rows": []}
    both = {"data": untested, "model": untested}
    text = render_markdown(audit_content([entry | both], title="A", limits=(0.7, 0.55, 0.1, 0.02), phantoms=True))
    assert text.count("Nothing was tested. Cannot tell: too few patients.") == 2
    assert "interval is above" not in text


def found(entry, verdict):
    return entry | {"model": entry["model"] | {"verdict": verdict}}


def test_of_several_questions_the_gravest_verdict_is_the_version_s(entry):
    order = ("no sign", "cannot tell", "suspicious", "confounded")
    for worst, verdict in enumerate(order):
        asked = [found(entry, one) for one in (*order[: worst + 1], "no sign")]
        assert audit_tag(gravest(asked)).startswith(verdict)


def test_a_report_shows_both_verdicts_of_every_candidate(entry):
    asked = [entry, found(entry, "confounded")]
    assert "data no sign, model cannot tell; " in audit_sentence(asked)
    assert audit_sentence(asked).endswith("model confounded.")
    assert [row[-1].main for row in audit_table(asked).rows] == ["cannot tell", "confounded"]
