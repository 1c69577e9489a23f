import math
import shutil

import pytest

from medtransfer.errors import DataError
from medtransfer.reporting.records import chain_fits, curves, provenance

NETWORKS = ("resnet50_attn0", "resnet50_attn5")
AUROC = {"auroc": ("val/auroc_covid", "val/macro_auroc")}


def test_every_fit_has_its_run_commit_data_and_seconds(study_folder):
    fits = provenance(chain_fits(study_folder, NETWORKS))
    assert len(fits) == 2 * 2 * (4 + 5)
    fit = fits.query("phase == 'finetuned' and network == 'resnet50_attn5' and chain == 'none' and seed == 1").iloc[0]
    assert fit["name"] == "finetuned · resnet50_attn5-none · seed 1"
    assert fit["git_dirty"]
    assert fit["data"].startswith("data 5d41402abc4b")
    assert fit["seconds"] == 12.5


def test_curves_take_the_auroc_that_a_fit_has(study_folder):
    table = curves(chain_fits(study_folder, NETWORKS), AUROC)
    assert table["auroc"].notna().all()
    assert set(table["phase"]) == {"pretrained", "finetuned"}
    assert list(table["step"].unique()) == [10, 20, 30, 40, 50, 60, 70, 80]


def test_a_network_whose_name_begins_another_takes_only_its_own_fits(study_folder, tmp_path):
    shutil.copytree(study_folder / "finetuned/resnet50_attn5-none", tmp_path / "finetuned/resnet50_attn50-none")
    assert provenance(chain_fits(tmp_path, ["resnet50_attn5"])).empty
    assert set(provenance(chain_fits(tmp_path, ["resnet50_attn50"]))["chain"]) == {"none"}


def test_a_record_without_events_has_no_seconds(study_folder, tmp_path):
    shutil.copytree(study_folder, tmp_path / "study")
    (tmp_path / "study/finetuned/resnet50_attn0-none/records/seed0/events.jsonl").unlink()
    found = provenance(chain_fits(tmp_path / "study", NETWORKS)).query(
        "network == 'resnet50_attn0' and chain == 'none'"
    )
    assert [math.isnan(seconds) for seconds in found["seconds"]] == [True, False]


def test_a_damaged_record_is_named(study_folder, tmp_path):
    shutil.copytree(study_folder, tmp_path / "study")
    (tmp_path / "study/finetuned/resnet50_attn0-none/records/seed0/run.json").write_text('{"run_')
    with pytest.raises(DataError, match=r"seed0/run\.json: no readable record of a run; run the stage"):
        provenance(chain_fits(tmp_path / "study", NETWORKS))


def test_a_study_without_records_has_empty_tables(tmp_path):
    assert provenance(chain_fits(tmp_path, NETWORKS)).empty
    assert curves(chain_fits(tmp_path, NETWORKS), AUROC).empty
