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


def test_what_was_not_run_has_no_row_of_ours_and_the_answer_has_a_number(small):
    """The paper's own tables keep their rows: what has no number of ours says ``not run``."""
    content, names, _ = small
    tables = {table.key: table for table in content.results if table}
    for key, task in (("diagnosis", "label"), ("severity", "zones")):
        of_task = {name for name in names if task in VARIANTS[name].get("tasks", (task,))}
        assert {row[0].main for row in tables[key].rows} & {*VARIANTS} == of_task
    assert {row[0].main for row in tables["tests"].rows} <= {*names}
    (answer,) = content.headline
    assert ("AUROC" in answer) == (names != ("severity",))
    assert any(character.isdigit() for character in answer.replace("0 to 6", ""))
