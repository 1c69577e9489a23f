import pytest

from medtransfer.errors import DataError
from medtransfer.reporting.content import read_summary, summary_json, summary_of
from medtransfer.reporting.page import write_overview


@pytest.fixture(scope="module")
def summary(content):
    return summary_of("attentive_transfer", content)


def test_a_summary_survives_its_file(summary):
    assert read_summary(summary_json(summary), source="x") == summary


def test_a_damaged_summary_is_named():
    with pytest.raises(
        DataError, match=r"^here/content\.json: not the summary that a report writes for the front page; write"
    ):
        read_summary('{"study": 3}', source="here/content.json")


def test_the_front_page_leads_to_every_study_and_shows_its_first_table(summary, tmp_path):
    write_overview(tmp_path, [summary])
    page, text = ((tmp_path / name).read_text(encoding="utf-8") for name in ("index.html", "results.md"))
    assert 'href="attentive_transfer/index.html"' in page
    assert f'id="attentive_transfer-{summary.lead.key}"' in page
    assert summary.origin in page
    assert page.count("<script") == 1
    assert "](attentive_transfer/results.md)" in text
    assert f"### {summary.lead.title}" in text


def test_two_studies_share_no_identifier(summary, tmp_path):
    other = type(summary)("other", "Other", "real", False, ("It is so.",), summary.lead, {})
    write_overview(tmp_path, [summary, other])
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    names = [part.split('"')[0] for part in page.split(' id="')[1:]]
    assert len(names) == len(set(names))
