import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from medtransfer.reporting.content import Column, Figure, Table, TableCell
from medtransfer.reporting.formatting import NOT_PRINTED
from medtransfer.reporting.origin import Origin
from medtransfer.reporting.page import render_html, render_markdown, write_report
from medtransfer.reporting.tables import badged
from medtransfer.studies.attentive_transfer.report import build

FRONT = "../index.html"
EVIL = '<script>alert("1")</script>|$x$'


class Tags(HTMLParser):
    """Collects start tags with their attributes, and checks that every element is closed."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self):
        super().__init__()
        self.seen, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def tags(page):
    parser = Tags()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser.seen


@pytest.fixture(scope="module")
def page(content):
    return render_html(content)


@pytest.fixture(scope="module")
def evil(report_input, gate, datasets, champions):
    """The same study with a data set, a licence, a model and a profile that try to become markup."""
    table = report_input.predictions
    changed = replace(
        report_input,
        predictions=table.assign(dataset=table["dataset"].replace("far", EVIL)),
        origin=Origin(
            datasets={EVIL: datasets["ct"] | {"licence": EVIL, "classes": [EVIL]}},
            gate=gate | {"declared": {EVIL: EVIL}},
        ),
        champions=[champions[0] | {"model": EVIL}],
        config=report_input.config.model_copy(update={"outside": (EVIL,)}),
        evaluation=report_input.evaluation.model_copy(update={"draws": 20}),
        profile=EVIL,
    )
    return build(changed)


def test_page_tables_and_drawings_are_written_and_nothing_that_holds_images(tmp_path, content):
    photograph = Figure("photograph", "Photograph", "", '<img alt="" src="data:image/png;base64,AAAA">')
    write_report(tmp_path / "report", replace(content, figures=(*content.figures, photograph)))
    written = {path.relative_to(tmp_path / "report").as_posix() for path in (tmp_path / "report").rglob("*.*")}
    drawings = {f"figures/{key}.svg" for key in ("forest", "curves", "leep", "learning-fine-tuning")}
    assert {"index.html", "results.md"} | drawings <= written
    linked = set(re.findall(r"\]\((figures/.*?)\)", (tmp_path / "report/results.md").read_text(encoding="utf-8")))
    assert written == {"index.html", "results.md"} | linked
    assert "figures/photograph.svg" not in written


def test_a_drawing_is_a_complete_file(tmp_path, content):
    write_report(tmp_path / "report", content)
    for file in (tmp_path / "report/figures").iterdir():
        text = file.read_text(encoding="utf-8")
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in text
        assert 'style="background: #fdfdfb"' in text
        assert "#e4e7ea" not in text, "the ink of the dark page"


def test_the_page_loads_nothing_from_any_host(page):
    for tag, attributes in tags(page):
        assert tag not in ("link", "iframe", "object", "embed", "image")
        assert tag != "script" or not attributes
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert attributes.get("href", "#").startswith("#") or attributes["href"] == FRONT
        assert attributes.get("xlink:href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in page
    assert all(url.startswith("url(#") for url in re.findall(r"url\([^)]*", page))


def test_only_the_script_that_sorts_tables_may_run(page):
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert f"script-src 'sha256-{allowed}'" in policy
    assert "default-src 'none'" in policy


def test_the_answer_is_beside_a_drawing_and_each_drawing_is_there_once(content, page):
    answer = page[page.index('id="answer"') : page.index('id="results"')]
    assert f'<figure id="{content.lead.key}"' in answer
    assert page.count(f'<figure id="{content.lead.key}"') == 1


def test_columns_without_a_value_become_a_note(content):
    columns = (Column("network", number=False), Column("paper", "AUROC"), Column("ours", "AUROC"))
    rows = tuple((TableCell(name), NOT_PRINTED, TableCell("0.8")) for name in "ab")
    table = Table("t", "T", "", columns, rows)
    page, text = render_html(replace(content, results=(table,))), render_markdown(replace(content, results=(table,)))
    for found in (page, text):
        assert "Not available, so not shown: " in found
        assert "n/a" not in found
    one = replace(table, rows=(*rows, (TableCell("c"), TableCell("0.7"), TableCell("0.8"))))
    text = render_markdown(replace(content, results=(one,)))
    assert "AUROC paper" in text.split("### T")[1].split("###")[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("holds", '<b class="badge for">holds</b>'),
        ("A − B: +0.1, 95 % interval 0.0 … 0.2 (one seed): not decidable (one seed).", ': <b class="badge open">'),
        ("this holds in part", None),
        ("the claim: holdings", None),
    ],
)
def test_a_verdict_has_a_badge_and_other_words_have_none(text, found):
    marked = str(badged(text))
    assert (found in marked) if found else ("badge" not in marked)


def test_identifiers_are_unique_and_every_link_has_its_target(page):
    seen = [attributes for _, attributes in tags(page)]
    names = [attributes["id"] for attributes in seen if "id" in attributes]
    links = {attributes["href"][1:] for attributes in seen if attributes.get("href", FRONT) != FRONT}
    assert len(names) == len(set(names))
    assert links <= set(names)


def test_a_report_without_figures_has_no_place_for_them(content):
    bare = replace(content, figures=())
    assert "Figures" not in render_html(bare)
    assert "## Figures" not in render_markdown(bare)


def test_labels_cannot_become_markup_in_the_page(evil):
    page = render_html(evil)
    assert page.count("<script") == 1, "the one that sorts tables"
    assert "&lt;script&gt;" in page
    tags(page)


def test_labels_cannot_become_markup_or_columns_in_markdown(evil):
    text = render_markdown(evil)
    assert "<script" not in text
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_a_label_with_a_line_break_stays_in_its_row(content):
    table = Table("t", "T", "", (Column("a"),), ((TableCell("one\n| two |"),),))
    text = render_markdown(replace(content, results=(table,)))
    assert r"| one \| two \| |" in text


def test_the_page_first_says_what_the_images_are(page, content):
    assert page.index(content.origin[:20]) < page.index('id="answer"') < page.index('id="results"')
    assert "drawn phantom" in content.origin


def test_terms_are_explained_on_hovering(page):
    assert '<abbr title="area under the ROC curve' in page
    assert '<abbr title="supervised pretraining on natural images">STL-N</abbr>' in page
    assert ">LogME</abbr>" in page
    assert '<abbr title="right middle lobe, of the patient">rm</abbr>' in page
    assert not re.search(r'title="[^"]*<abbr', page)


def test_a_studys_own_terms_are_not_explained_on_the_page_of_another(content):
    page = render_html(replace(content, glossary={"STL-N": "something else"}))
    assert '<abbr title="something else">STL-N</abbr>' in page
    assert ">LogME</abbr>" not in page
    assert '<abbr title="area under the ROC curve' in page


def test_every_champion_has_its_own_list(content):
    other = tuple((name, TableCell("two")) for name, _ in content.champions[0])
    page = render_html(replace(content, champions=(*content.champions, other)))
    assert page.count("<dl>") == 2
    assert "## Champion" not in render_markdown(replace(content, champions=()))


def test_group_heads_span_their_columns(page):
    part = page[page.index('id="table4"') :]
    assert re.findall(r'colspan="(\d+)"', part[: part.index("</thead>")]) == ["2", "3", "3", "3", "1"]


def test_markdown_holds_every_table_of_the_page(content):
    text = render_markdown(content)
    for table in (*content.results, *content.data, *content.provenance):
        assert f"### {table.title}" in text


def test_a_remark_is_in_brackets_in_markdown(content):
    assert "| resnet50 + 5 ATTN (attention inactive) | no transfer |" in render_markdown(content)


def test_an_empty_table_says_so(content):
    table = Table("t", "Nothing", "", (Column("a"), Column("b")), ())
    assert '<td colspan="2">nothing to show</td>' in render_html(replace(content, results=(table,)))
    assert "\nnothing to show\n" in render_markdown(replace(content, results=(table,)))


def test_the_page_is_the_same_every_time(content):
    assert render_html(content) == render_html(content)
