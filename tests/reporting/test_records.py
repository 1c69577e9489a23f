import math
import shutil

import pytest

from medtransfer.errors import DataError
from medtransfer.reporting.records import curves, provenance, recorded_fits, trained_on
from medtransfer.tracking.journal import Journal

NETWORKS = ("resnet50_attn5", "resnet50_attn0")
AUROC = {"auroc": ("val/auroc_covid", "val/macro_auroc")}
FIT = "records/finetune/resnet50_attn0/none/seed0"


@pytest.fixture
def copy(study_folder, tmp_path):
    return shutil.copytree(study_folder, tmp_path / "study")


def test_every_fit_has_its_run_commit_data_and_seconds(study_folder):
    fits = provenance(recorded_fits(study_folder, NETWORKS))
    assert len(fits) == 2 * 2 * (4 + 5)
    query = "phase == 'finetune' and variant == 'resnet50_attn5' and condition == 'none' and seed == 1"
    fit = fits.query(query).iloc[0]
    assert fit["name"] == "finetune · resnet50_attn5-none · seed 1"
    assert fit["git_dirty"]
    assert fit["data"].startswith("data 5d41402abc4b")
    assert fit["seconds"] == 12.5


def test_fits_are_in_the_order_of_their_names(copy):
    shutil.copytree(copy / FIT, (copy / FIT).with_name("seed10"))
    seeds = [names["seed"] for names, folder in recorded_fits(copy, NETWORKS) if folder.parent == (copy / FIT).parent]
    assert seeds == [0, 1, 10]


def test_variants_are_in_the_order_of_the_study_and_left_over_ones_are_left_out(study_folder):
    fits = [names for names, _ in recorded_fits(study_folder, NETWORKS)]
    assert list(dict.fromkeys(names["variant"] for names in fits if names["phase"] == "stl_n")) == list(NETWORKS)
    assert {names["variant"] for names, _ in recorded_fits(study_folder, NETWORKS[:1])} == {"resnet50_attn5"}


def test_curves_take_the_auroc_that_a_fit_has(study_folder):
    table = curves(recorded_fits(study_folder, NETWORKS), AUROC)
    assert table["auroc"].notna().all()
    assert set(table["phase"]) == {"stl_n", "stl_m", "sstl_m", "finetune"}
    assert list(table["step"].unique()) == [10, 20, 30, 40, 50, 60, 70, 80]


def test_ready_made_weights_have_no_run(copy):
    before = len(recorded_fits(copy, NETWORKS))
    (copy / FIT / "ready_made.json").write_text("{}")
    assert len(recorded_fits(copy, NETWORKS)) == before - 1


def test_a_record_without_events_has_no_seconds(copy):
    (copy / FIT / "events.jsonl").unlink()
    fits = provenance(recorded_fits(copy, NETWORKS)).query(
        "phase == 'finetune' and variant == 'resnet50_attn0' and condition == 'none'"
    )
    assert [math.isnan(seconds) for seconds in fits["seconds"]] == [True, False]


def test_a_damaged_record_is_named(copy):
    (copy / FIT / "run.json").write_text('{"run_')
    with pytest.raises(DataError, match=r"seed0/run\.json: not a readable record of a run; run the stage"):
        provenance(recorded_fits(copy, NETWORKS))


def test_a_study_without_records_has_empty_tables(tmp_path):
    assert provenance(recorded_fits(tmp_path, NETWORKS)).empty
    assert curves(recorded_fits(tmp_path, NETWORKS), AUROC).empty


@pytest.mark.parametrize(("gpus", "said"), [([], "A CPU, 2 cores, bf16"), (["A GPU", "A GPU"], "A GPU, A GPU, bf16")])
def test_the_journal_says_on_what_a_fit_was_trained(tmp_path, gpus, said):
    machine = {"cpu": "A CPU", "cores": 2, "gpus": gpus, "system": "Linux"}
    journal = Journal(tmp_path)
    journal.append("open", {"lineage": {"machine": machine}})
    journal.append("params", {"values": {"settings.lr": 0.1}})
    journal.append("params", {"values": {"precision": "bf16"}})
    journal.close()
    assert trained_on(tmp_path) == said


def test_without_a_journal_or_a_machine_in_it_nothing_is_said(tmp_path):
    assert trained_on(tmp_path) == ""
    journal = Journal(tmp_path)
    journal.append("metrics", {"step": 0, "values": {"a": 1.0}})
    journal.close()
    assert trained_on(tmp_path) == ""
