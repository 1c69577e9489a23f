"""The report of a study with one network, one condition and one seed: no row for what was not run, and an answer."""

from types import SimpleNamespace

import pytest

from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import Origin
from medtransfer.studies.multitask_vit.report import collect

from .conftest import VARIANTS, manifest, predictions

SMALL = {
    "one network of both tasks": (("multitask",), (0, 1)),
    "one network of the label": (("classification",), (0, 1)),
    "one network of the severity": (("severity",), (0, 1)),
    "one seed": (("multitask", "classification", "severity"), (0,)),
    "one of each": (("multitask",), (0,)),
}


@pytest.fixture(params=SMALL.values(), ids=SMALL)
def small(request, make_config, gate, tmp_path, monkeypatch):
    packed = SimpleNamespace(manifest=manifest(), images=None)
    monkeypatch.setattr(collect, "_packed", lambda config: {"cxr": packed})
    names, seeds = request.param
    rows = predictions()
    config = make_config(variants={name: VARIANTS[name] for name in names}, seeds=seeds)
    content = collect.collect(
        ReportInput(
            folder=tmp_path,
            predictions=rows[rows["variant"].isin(names) & rows["seed"].isin(seeds)],
            origin=Origin({}, gate=gate),
            champions=[],
            config=config,
            evaluation=EvaluationConfig(draws=40),
            profile="toy",
        )
    )
    return content, names, seeds


def test_what_was_not_run_has_no_row_and_the_answer_has_a_number(small):
    content, names, _ = small
    tables = {table.key: table for table in content.results}
    assert all(table.rows for table in content.results)
    assert not [key for key, table in tables.items() for row in table.rows for cell in row if "not run" in cell.main]
    for key, task in (("diagnosis", "label"), ("severity", "zones")):
        of_task = {name for name in names if task in VARIANTS[name].get("tasks", (task,))}
        assert (key in tables) == bool(of_task)
        if of_task:
            assert {row[0].main for row in tables[key].rows} & {*VARIANTS} == of_task
    assert "rotation" not in tables
    assert ("tests" in tables) == (len(names) > 1)
    assert ("calibration" in tables) == ("classes" in tables) == (names != ("severity",))
    assert ("masks" in tables) == (names != ("classification",))
    (answer,) = content.headline
    assert ("AUROC" in answer) == (names != ("severity",))
    assert any(character.isdigit() for character in answer.replace("0 to 6", ""))


def test_the_papers_tables_name_below_them_what_was_not_run(small):
    content, names, _ = small
    numbered = {int(t.key.removeprefix("table-")): t for t in content.results if t.key.startswith("table-")}
    ran = [name for name in names if name != "severity"], [name for name in names if name != "classification"]
    whole = "multitask" in names
    expected = [
        number
        for number in range(3, 15)
        if (whole or number in (3, 4)) and ran[number % 2 == 0]  # odd numbers are about diagnosis
    ]
    assert list(numbered) == expected
    if whole:
        assert [row[0].main for row in numbered[7].rows] == ["proposed model"]
        assert numbered[7].notes[-1].startswith("Not run with these parameters: ResNet-50, ResNet-152")
        assert numbered[9].rows[1][-1].main == "not built"
    if names == ("multitask",):
        assert numbered[3].notes == ("Not run with these parameters: single-task.",)
