"""``compare`` from the command line: every kind of target, going on without repeating, and what is refused."""

import json

import pytest

from medtransfer.cli import run

CANDIDATES = "cbr_tiny_w32_same,cbr_small_same"
QUICK = ["--size", "32", "--steps", "2", "--batch", "8", "--candidates", CANDIDATES]
BINARY = ["--target", "diagnosis", "--task", "binary", "--positive", "ill"]


def compare(folder, *words):
    return run(["compare", "--data", str(folder / "my.csv"), *QUICK, *words])


def found(workplace, name="my"):
    return json.loads((workplace / "out" / "compare" / name / "comparison.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_comparison_ranks_goes_on_without_repeating_and_registers(drawn, workplace, capsys):
    assert compare(drawn, *BINARY, "--keep", "2", "--seeds", "2") == 0
    said = capsys.readouterr().err
    assert said.index("leak gate: open") < said.index("audit of the data") < said.index("screening: cbr_tiny")
    assert "4 fits of 2 steps" in said
    ranking = found(workplace)["ranking"]
    assert ranking[0]["verdict"] == "highest"
    assert {place["network"] for place in ranking} == set(CANDIDATES.split(","))
    page = (workplace / "out" / "compare" / "my" / "index.html").read_text(encoding="utf-8")
    assert "Ranking after fine-tuning" in page
    assert "../index.html" not in page  # it belongs to no front page
    assert compare(drawn, *BINARY, "--keep", "2", "--seeds", "2", "--register", "mine") == 0
    said = capsys.readouterr().err
    assert said.count("already trained, kept") == 4
    assert "registered mine version 1 @champion" in said
    assert found(workplace)["ranking"] == ranking


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "metric"),
    [
        (["--target", "stage", "--task", "multiclass"], "macro_auroc"),
        (["--target", "y_bright", "--target", "y_odd", "--task", "multilabel"], "auroc"),
        (["--target", "age", "--task", "regression"], "r2"),
    ],
)
def test_every_kind_of_target_is_ranked(words, metric, drawn, workplace, capsys):
    assert compare(drawn, *words, "--keep", "1", "--seeds", "1") == 0
    (place,) = found(workplace)["ranking"]
    assert place["metric"] == metric
    assert place["numbers"]["mean"] is not None
    assert "screening only" in (workplace / "out/compare/my/results.md").read_text(encoding="utf-8")


def test_screening_alone_is_called_screening_and_reads_no_test_image(drawn, workplace, capsys, monkeypatch):
    from medtransfer.comparing import screening

    seen = []
    view = screening.view
    monkeypatch.setattr(screening, "view", lambda *a: seen.append(loader := view(*a)) or loader)
    assert compare(drawn, *BINARY, "--keep", "0") == 0
    said = capsys.readouterr().err
    assert "Screening alone: " in said
    assert "no comparison of results" in said
    assert found(workplace)["ranking"] == []
    splits = {split for loader in seen for split in loader.data.manifest["split"].iloc[loader.rows]}
    assert splits == {"train", "val"}
    assert len(seen) == 2
    assert compare(drawn, *BINARY, "--keep", "0") == 0
    assert len(seen) == 2  # features are kept


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--target", "diagnosis"], "recognised, not confirmed: diagnosis: binary, two classes, ill and well"),
        ([], "y_bright, y_odd: multilabel, 2 findings that do not exclude each other"),
        (["--target", "absent"], "--target absent: not a column of"),
        ([*BINARY, "--name", "weights"], "--name weights: the folder of all comparisons' weights"),
        ([*BINARY, "--name", "../x"], "not a plain name"),
        ([*BINARY, "--seeds", "0"], "--seeds 0: expected 1 at least"),
        ([*BINARY, "--candidates", "resnet18@absent.safetensors"], "no weights at absent.safetensors"),
        ([*BINARY, "--candidates", "nonet18"], "nonet18"),
        ([*BINARY, "--keep", "0", "--register", "mine"], "--register: nothing was fine-tuned"),
    ],
)
def test_a_mistake_is_one_line(words, text, drawn, workplace, capsys):
    assert compare(drawn, *words) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("medtransfer: ")
    assert text in last


@pytest.mark.parametrize("data", ["absent.csv", "absent", "deep/absent"])
def test_data_that_are_not_there(data, workplace, capsys):
    assert run(["compare", "--data", data]) == 2
    assert "medtransfer: " in capsys.readouterr().err
