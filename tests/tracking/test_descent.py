"""Lineage in both directions, descriptions with links between runs, the summary run."""

import pytest

from medtransfer.cli import run
from medtransfer.errors import TrackingError
from medtransfer.tracking import RunSpec, finish, open_run
from medtransfer.tracking.descent import lineage, read_graph
from medtransfer.tracking.describing import (
    describe_experiment,
    describe_runs,
    mark_replaced,
    places_of_runs,
    write_summary,
)
from medtransfer.tracking.store import RUN_KEY, client
from medtransfer.tracking.views import FIT, IN_PLACE

STUDY = "attentive_transfer"
TAGS = {"study": STUDY, "profile": "sample", "git_commit": "c" * 40, "git_dirty": "False"}


@pytest.fixture
def chain(here, spec):
    """A pretraining on cxr, and the fine-tuning on ct that starts from it."""
    keys = []
    for name, data, parents in (("pretraining", "cxr", ()), ("finetuning", "ct", (0,))):
        read = spec.datasets[0].model_copy(update={"name": data, "digest": f"{data}-digest"})
        parent = tuple(keys[number] for number in parents)
        own = RunSpec(experiment=STUDY, name=name, tags=TAGS | {"phase": name}, datasets=(read,), parents=parent)
        with open_run(own, here / name):
            pass
        keys.append(finish(here / name)["run_key"])
    return keys


def test_lineage_leads_from_a_data_set_to_runs_and_models(chain):
    store = client()
    graph = read_graph()
    store.create_registered_model("covid-ct")
    store.create_model_version("covid-ct", "s3://nowhere", graph.runs[chain[1]]["run_id"], tags={"sha256": "ab" * 32})
    store.set_registered_model_alias("covid-ct", "champion", "1")
    lines = lineage(read_graph(), "cxr")
    assert lines[:4] == [
        "data set cxr cxr-digest",
        f"  read by run {chain[0][:12]} pretraining (FINISHED)",
        f"  then used by run {chain[1][:12]} finetuning (FINISHED)",
        "  made model covid-ct version 1 @champion",
    ]
    for name in ("covid-ct@champion", "covid-ct/1", "models:/covid-ct/1"):
        lines = lineage(read_graph(), name)
        assert lines[:2] == ["model covid-ct version 1 @champion", f"  weights {'ab' * 32}"]
        assert "  data cxr cxr-digest" in lines
        assert lines[-1] == f"  dvc repro register@{STUDY}"


def test_lineage_leads_from_a_run_back_to_its_data_and_commit(chain):
    describe_runs(STUDY, {chain[1]: "x"}, {chain[1]: {"weights_sha256": "fedcba" * 10}})
    by_key = lineage(read_graph(), chain[1][:8])
    assert by_key == lineage(read_graph(), "fedcbafed") == lineage(read_graph(), read_graph().runs[chain[1]]["run_id"])
    assert by_key[0] == f"run {chain[1][:12]} finetuning (FINISHED)"
    assert f"from run {chain[0][:12]} pretraining (FINISHED)" in by_key
    assert f"  git checkout {'c' * 40}" in by_key
    assert f"used by run {chain[1][:12]} finetuning (FINISHED)" in lineage(read_graph(), chain[0])


@pytest.mark.parametrize(
    ("wanted", "why"), [("nothing", "nothing has this name"), ("x/3", "no such registered version")]
)
def test_what_has_no_lineage_is_named(chain, wanted, why):
    with pytest.raises(TrackingError, match=why):
        lineage(read_graph(), wanted)


def test_the_verb_prints_it(chain, capsys):
    assert run(["lineage", "ct"]) == 0
    assert capsys.readouterr().out.startswith("data set ct ct-digest\n")


def tags_of(key):
    return client().get_run(read_graph().runs[key]["run_id"]).data.tags


def compared():
    home = client().get_experiment_by_name(STUDY).experiment_id
    return {run.data.tags[RUN_KEY] for run in client().search_runs([home], IN_PLACE)}


def test_a_run_that_was_replaced_says_so_and_leaves_the_comparisons_until_it_is_back(chain):
    old, new = chain
    assert compared() == set()
    describe_runs(STUDY, dict.fromkeys(chain, "x"), {key: {FIT: "one"} for key in chain})
    assert compared() == {old, new}
    mark_replaced(STUDY, {old: new, "0" * 32: new})
    assert compared() == {new}
    assert tags_of(old)["replaced_by"] == new
    assert tags_of(old)["mlflow.note.content"].startswith(f"Replaced by [{new[:6]} · finetuning](#/experiments/")
    assert tags_of(old)["mlflow.note.content"].endswith(").\n\nx")
    describe_runs(STUDY, {old: "x"}, {old: {FIT: "one"}})
    assert compared() == {old}
    assert "replaced_by" not in tags_of(old)
    assert tags_of(new)["replaced_by"] == old


def test_a_description_links_to_the_parent_in_this_store(chain):
    describe_runs(STUDY, {chain[1]: f"Starts from [it](run:{chain[0]})."}, {})
    runs = read_graph().runs
    home = client().get_experiment_by_name(STUDY).experiment_id
    note = client().get_run(runs[chain[1]]["run_id"]).data.tags["mlflow.note.content"]
    assert note == f"Starts from [it](#/experiments/{home}/runs/{runs[chain[0]]['run_id']})."


def test_runs_are_found_in_the_tracker_by_their_keys(chain):
    home = client().get_experiment_by_name(STUDY).experiment_id
    pages, runs = f"http://127.0.0.1:5000/#/experiments/{home}/runs/", read_graph().runs
    assert places_of_runs(STUDY) == {key: (runs[key]["run_id"], pages + runs[key]["run_id"]) for key in chain}
    assert places_of_runs("nothing") == {}


def test_names_of_runs_begin_with_their_own_code(chain):
    names = [run.info.run_name for run in client().search_runs([client().get_experiment_by_name(STUDY).experiment_id])]
    assert sorted(names) == sorted([f"{chain[0][:6]} · pretraining", f"{chain[1][:6]} · finetuning"])


def test_a_study_has_one_summary_run_however_often_it_is_written(here, chain):
    (here / "files" / "tables").mkdir(parents=True)
    (here / "files" / "tables" / "a.csv").write_text("a\n1\n")
    for note in ("first", "second"):
        write_summary(STUDY, note, {"profile": "sample"}, here / "files")
    describe_experiment(STUDY, "about", "test/auroc")
    home = client().get_experiment_by_name(STUDY)
    (found,) = client().search_runs([home.experiment_id], "tags.phase = 'summary'")
    assert found.data.tags["mlflow.note.content"] == "second"
    assert found.info.status == "FINISHED"
    assert [each.path for each in client().list_artifacts(found.info.run_id, "tables")] == ["tables/a.csv"]
    assert home.tags["mlflow.note.content"] == "about"


def test_a_store_that_is_down_costs_a_warning(here, caplog):
    down = "postgresql+psycopg://ann:secret@127.0.0.1:9/runs"
    describe_runs(STUDY, {}, {}, uri=down)
    write_summary(STUDY, "x", {}, here, uri=down)
    assert places_of_runs(STUDY, uri=down) == {}
    assert "the runs were not described" in caplog.text
    assert "the summary run was not written" in caplog.text
    assert "the runs have no links" in caplog.text
    assert "secret" not in caplog.text
