"""A number whose patients are not known has the reason beside it, wherever an interval would be."""

import numpy as np

from medtransfer.evaluation.claims import Claim, Judgement
from medtransfer.reporting.claims_table import claims_table
from medtransfer.reporting.content import Column
from medtransfer.reporting.formatting import estimate, image_count
from medtransfer.reporting.origin import datasets_table
from medtransfer.reporting.plots import Mark, forest

REASON = "no patient ids: which images are of one patient is not known"
ROW = {"mean": 0.7, "sd": 0.01, "low": None, "high": None, "low_seeds": None, "high_seeds": None, "reason": REASON}


def test_a_table_cell_says_so():
    cell = estimate(ROW)
    assert (cell.main, cell.detail, cell.hover) == ("0.700 ± 0.010", "no patient ids", REASON)


def test_a_figure_says_so():
    marks = [Mark("", "AUROC", "net", "a", {"color": "#000000", "marker": "o"}, ROW)]
    assert forest("f", "F", "Test images.", marks).caption == "Test images. Hollow: no interval, no patient ids."


def test_every_estimate_of_a_claim_says_so():
    claim = Claim(key="k", statement="Better.", source="Table 1", how="a − b", contrast={})
    judged = [(claim, {"ct": Judgement("not decidable", REASON, 0.1)})]
    row = claims_table(judged, {"ct": Column("ct")}, deciding="ct", intro="").rows[0]
    assert [cell.detail for cell in row[-2:]] == ["no patient ids", REASON]


def test_a_sentence_counts_no_patients(flat_cell):
    assert image_count(flat_cell(0.7)) == "2 images of 2 patients"
    assert image_count(flat_cell(0.7, patients=np.array(["", ""], object))) == "2 images without patient ids"


def test_the_table_of_data_sets_counts_no_patients(datasets):
    row = datasets_table({"ct": datasets["ct"] | {"patients": "each_image"}}).rows[0]
    assert [cell.main for cell in row[3:6]] == ["300 / no patient ids", "—", "120 / no patient ids"]
