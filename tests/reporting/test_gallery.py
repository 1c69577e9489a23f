"""The page of a gallery and the table of scores, from made-up facts."""

import re
import subprocess

import numpy as np
import pytest

from medtransfer.explain.tiles import map_tile, write_tile
from medtransfer.reporting.gallery import failed_tests, score_table, write_gallery_page
from medtransfer.tracking.describing import Place
from report_fixtures import CHROMIUM, QUIET

TITLES = {"grad_cam": "Grad-CAM", "attention": "attention"}
RUNS = [Place("1a" * 16, "http://127.0.0.1:5000/#/experiments/4/runs/" + "1a" * 16), Place("2b" * 16, "")]
"""The second one's tracker did not answer."""
SCORE = {
    "lesion_images": 4,
    "flat": 0,
    "pointing": 0.5,
    "chance": 0.1,
    "overlap": 0.2,
    "in_lungs": 0.6,
    "lungs": 0.3,
    "deletion": 0.2,
    "insertion": 0.7,
    "head": 0.1,
    "weights": 0.1,
    "labels": 0.2,
}


def network(title, flat, answers, **scores):
    rows = [SCORE | {"explainer": name} | scores for name in flat]
    fit = {"study": "s", "folder": "finetune", "variant": title, "condition": "none", "seed": 0}
    told = [{"answer": answer, "score": 0.75} for answer in answers]
    sheets = {"correct": "sheets/0/correct.png"}
    return {"title": title, "fit": fit, "answers": told, "flat": flat, "sheets": sheets, "scores": rows, "twin": 0.9}


@pytest.fixture
def facts():
    return {
        "dataset": "ct",
        "positive": "covid",
        "scored": 4,
        "not_scored": "",
        "alike": 0.5,
        "bar": ["#000000", "#ffffff"],
        "cases": [
            {"image_id": "ct/<1>", "truth": "covid", "kind": "correct"},
            {"image_id": "ct/2", "truth": "non-covid", "kind": "correct"},
        ],
        "networks": [
            network("plain", {"grad_cam": [False, True]}, ["covid", "non-covid"]),
            network("attentive", {"grad_cam": [False, False], "attention": [False, False]}, ["covid", "covid"]),
        ],
    }


@pytest.fixture
def page(facts, tmp_path):
    for place in range(2):
        names = ["", *(f"-{n}-{name}-{part}" for n in range(2) for name in TITLES for part in ("map", "overlay"))]
        for number, name in enumerate(names):
            write_tile(map_tile(np.full((4, 4), number / 9)), tmp_path / "tiles" / f"{place}{name}.png")

    def written(**changes):
        about = {"titles": TITLES, "origin": "Drawn.", "phantoms": True}
        write_gallery_page(tmp_path / "page", tmp_path, facts | changes, RUNS, **about)
        return (tmp_path / "page" / "index.html").read_text(encoding="utf-8")

    return written


def test_every_cell_has_a_map_and_its_overlay_or_says_why_not(page):
    html = page()
    assert "ct/&lt;1&gt;" in html
    assert html.count("does not fit this network") == 2  # attention of the plain network, two cases
    assert html.count("no heat: nothing in this image") == 1
    images = re.findall(r'<img[^>]*src="data:image/png;base64,([^"]+)"', html)
    assert len(images) == html.count("<img") == 4 + 3 * 5  # four originals; map, image and overlay of five cells
    assert "There is none: the first network answers every test image correctly." in html
    assert 'answer: covid <span class="wrong">failed</span>' in html
    assert html.count('<span class="right">correct</span>') == 3


def test_every_case_names_its_run_and_links_to_it(page):
    html = page()
    assert html.count(f'<a href="{RUNS[0].address}" title="{RUNS[0].run_id}">1a1a1a1a</a>') == 2
    assert html.count(f'<span title="{RUNS[1].run_id}">2b2b2b2b</span>') == 2
    for run in RUNS:
        assert f"<span>{run.run_id}</span>" in html[html.index('id="runs"') :]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_one_slider_sets_the_opacity_of_all_overlays(page, tmp_path):
    """The page's own policy allows the script; a browser restores the slider's value when a page is loaded again."""
    assert '<label id="opacity" hidden>' in page()
    copy = tmp_path / "page" / "index.html"
    copy.write_text(copy.read_text(encoding="utf-8").replace('value="100"', 'value="35"'), encoding="utf-8")
    command = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", copy.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert re.search(r'<html[^>]* style="--heat: 0.35;"', dom)
    assert re.search(r'<label id="opacity">Opacity of all overlays <input type="range"', dom)
    assert "<output>35 %</output>" in dom


def test_a_failed_sanity_test_is_printed_above_the_gallery(page, facts):
    assert not failed_tests(facts, TITLES)
    facts["networks"][1]["scores"][1]["labels"] = 0.8
    (sentence,) = failed_tests(facts, TITLES)
    assert "attention of attentive is like that of the network trained on permuted labels" in sentence
    html = page()
    assert html.index(sentence) < html.index("Correct cases of the first network</h2>")
    cells = [row[-1] for row in score_table(facts, TITLES).rows]
    assert [cell.detail for cell in cells] == ["", "", "fails"]


def test_without_masks_the_table_says_why_there_are_no_scores(page, facts):
    why = "not applicable: no test image with the class or finding has a lung mask"
    for one in facts["networks"]:
        one |= {"scores": None, "twin": None}
    (row,) = score_table(facts | {"scored": 0, "not_scored": why}, TITLES).rows
    assert row[1].main == why
    assert why in page(scored=0, not_scored=why)
