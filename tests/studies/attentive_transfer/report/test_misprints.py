import pandas as pd

from medtransfer.studies.attentive_transfer.report import misprints
from medtransfer.studies.attentive_transfer.report.misprints import misprints_table


def rows():
    return [tuple(text.main for text in row) for row in misprints_table().rows]


def test_every_misprint_that_the_numbers_reveal_is_listed_with_their_value():
    printed_and_given = [(where, printed, instead) for where, _, printed, instead, _ in rows()]
    assert printed_and_given == [
        ("Table 5", "3.1 %", "4.1 %"),
        ("Table 5", "6.6 %", "6.4 %"),
        ("Section 6.4", "0.6 %", "0.7 %"),
        ("Section 6.5", "2.7 %", "3.7 %"),
        ("Section 6.5", "3.7 %", "4.7 %"),
        ("Section 6.5", "2.5 %", "1.5 %"),
        ("Section 6.6", "3.5 %", "3.3 %"),
        ("Section 6.6", "1.3 %", "1.2 %"),
        ("Section 6.1", "16,898", "14,198"),
        ("Tables 2 to 5", "36 values", "24 are not multiples of 1/203"),
        ("Table 6", "down to −0.918", "in nats none is below −0.693; bits fit"),
        ("Eq. 2", "only in the positive term", "in every term"),
        ("Section 6.6", "R-10", "R-50"),
        ("Table 6", "0.-909", "−0.909"),
    ]


def test_a_misprint_is_described_in_words():
    quantities = {(where, printed): text for where, text, printed, *_ in rows()}
    assert quantities["Table 5", "6.6 %"] == "gain in AUROC, resnet50 + 1 ATTN, STL-M"
    assert quantities["Section 6.5", "2.7 %"] == (
        "what ATTN adds to the gain of STL-N → STL-M → SSTL-M, Accuracy, resnet50 + 1 ATTN"
    )
    assert quantities["Section 6.4", "0.6 %"] == (
        "SSTL-M over SimCLR, Accuracy, mean over resnet101, resnet101 + 1 ATTN, resnet101 + 5 ATTN"
    )


def test_numbers_that_agree_are_not_misprints(monkeypatch):
    monkeypatch.setattr(misprints, "covidx_images", lambda: {"covid": 1, "normal": 2, "total": 3})
    sound = misprints.text_margins()
    monkeypatch.setattr(misprints, "text_margins", lambda: sound.assign(value=sound["difference"]))
    monkeypatch.setattr(misprints, "printed_leep", lambda: {("a", "none"): -0.69})
    monkeypatch.setattr(misprints, "printed", lambda: printed_accuracy(157 / 203))
    assert [row[0] for row in rows()] == ["Table 5", "Table 5", "Eq. 2", "Section 6.6", "Table 6"]


def printed_accuracy(value):
    return pd.DataFrame({"metric": ["accuracy"], "network": ["a"], "chain": ["none"], "value": [round(value, 3)]})
