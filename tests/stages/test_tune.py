"""Searches on a toy: trials leave the pipeline alone, start from their own weights, and read no test row."""

import json
from pathlib import Path

import numpy as np
import pytest

from medtransfer import paths
from medtransfer.cli import run
from medtransfer.files import read_json, sha256_file
from medtransfer.stages.tune import read_search
from medtransfer.tracking.store import client
from medtransfer.training import run as training_run
from medtransfer.tuning import fits as fits_module
from medtransfer.tuning.collect import collect
from medtransfer.tuning.results import read_result, write_result
from medtransfer.tuning.storage import open_storage
from medtransfer.tuning.study import open_study, trial_folder
from medtransfer.tuning.worker import work

pytestmark = pytest.mark.slow

STUDY, NETWORK, CHAIN = "attentive_transfer", "test_resnet_attn0", "none-stl_m"
RATES = [f"{STUDY}.{phase}.train.optimizer.lr" for phase in ("stl_m", "finetune")]


@pytest.fixture
def searching(toy):
    """The toy with a search over both learning rates of a chain; its start is there as the pipeline leaves it."""
    section = toy.params[STUDY]
    section["networks"], section["chains"], section["stl_m_after"] = [NETWORK], ["none", CHAIN], ["none"]
    section["stl_m"] = section["stl_m"] | {"dataset": "ct", "augment": section["finetune"]["augment"]}
    section["stl_m"]["train"] = section["finetune"]["train"] | {"selection": None}
    section["finetune"]["train"] = section["finetune"]["train"] | {"epochs": 2}
    toy.params["tuning"] = {
        "chain": {
            "study": STUDY,
            "fits": [
                {"phase": "stl_m", "variant": NETWORK, "condition": CHAIN},
                {"phase": "finetune", "variant": NETWORK, "condition": CHAIN},
            ],
            "space": {key: {"kind": "log", "low": 1e-4, "high": 1e-2} for key in RATES},
            "objectives": [{"metric": "val/auroc_covid"}],
            "pruning": {"phase": "finetune", "metric": "val/auroc_covid", "startup": 1, "warmup": 0},
            "budget": {"trials": 4},
            "startup": 2,
        }
    }
    toy.write_params()
    toy.draw()
    assert run(["prepare", "ct"]) == 0
    assert run(["gate"]) == 0
    assert run(["fit", STUDY, "start", NETWORK]) == 0
    return toy


def search_here(name="chain"):
    """Run a search in this process, as one worker does; return its trials as they are written."""
    params, search, base, data = read_search(name)
    assert work(search, None, worker=1) == search.config.budget.trials
    study = open_study(name, search.config, search.space_hash, open_storage(name, None), None, 0)
    result = collect(search, study, params.profile, base, data)
    write_result(result)
    return result


def contents(folder):
    return {str(file): sha256_file(file) for file in Path(folder).rglob("*") if file.is_file()}


def test_trials_leave_the_pipeline_alone_and_chain_their_own_weights(searching, monkeypatch):
    parents, train = [], training_run.train_fit

    def watched(spec, scratch, engine, tracker):
        parents.append((spec.phase, spec.parent.sha256, str(Path.cwd())))
        return train(spec, scratch, engine, tracker)

    monkeypatch.setattr(fits_module, "train_fit", watched)
    before = contents("out")
    result = search_here()
    left = contents("out")
    assert {key: left[key] for key in before} == before
    assert set(left) - set(before) == {"out/tuning/chain/trials.json"}
    start = read_json(paths.weights_folder(STUDY, "pretrain", NETWORK) / "none" / "seed0" / "config.json")["sha256"]
    assert {sha for phase, sha, _ in parents if phase == "stl_m"} == {start}
    own = [sha for phase, sha, _ in parents if phase == "finetune"]
    assert start not in own
    assert len(set(own)) == len(own) == 4
    assert {trial.state for trial in result.trials} <= {"COMPLETE", "PRUNED"}
    folder = trial_folder("chain", 0)
    assert sorted(entry.name for entry in folder.iterdir()) == ["records", "result.json"]
    points = (folder / "records" / "events.jsonl").read_text()
    assert '"stl_m/val/' in points
    assert '"finetune/val/auroc_covid"' in points


def test_no_trial_reads_a_test_label(searching):
    honest = search_here()
    table = searching.folder / "data" / "ct" / "labels.csv"
    turned = {"covid": "non-covid", "non-covid": "covid"}
    lines = [
        ",".join((*row[:2], turned[row[2]], row[3])) if row[3] == "test" else ",".join(row)
        for row in (line.split(",") for line in table.read_text().splitlines())
    ]
    assert "\n".join(lines) + "\n" != table.read_text()
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for used in (paths.SCRATCH / "tuning", paths.dataset("ct")):
        fits_module.shutil.rmtree(used)
    assert run(["prepare", "ct"]) == 0
    poisoned = search_here()
    for one, other in zip(honest.trials, poisoned.trials, strict=True):
        assert (one.values, one.objectives, one.watched) == (other.values, other.objectives, other.watched)


def test_a_search_is_one_run_with_its_trials_below_it_and_goes_on_by_the_same_command(searching, capsys):
    assert run(["tune", "chain", "--workers", "2"]) == 0
    store = client()
    home = store.get_experiment_by_name(STUDY).experiment_id
    (above,) = store.search_runs([home], "tags.phase = 'search'")
    trials = store.search_runs([home], "tags.phase = 'search-trial'")
    assert {trial.data.tags["mlflow.parentRunId"] for trial in trials} == {above.info.run_id}
    assert sorted(trial.data.tags["trial"] for trial in trials) == ["0", "1", "2", "3"]
    assert {trial.info.status for trial in trials} <= {"FINISHED", "KILLED"}
    best = read_result("chain").best()
    assert above.data.tags["best_trial"] == str(best.number)
    assert "history.png" in {item.path for item in store.list_artifacts(above.info.run_id)}
    assert read_result("chain").run_key == above.data.tags["medtransfer.run_key"]
    assert run(["tune", "chain"]) == 0
    assert len(store.search_runs([home], "tags.phase = 'search-trial'")) == 4
    assert len(store.search_runs([home], "tags.phase = 'search'")) == 1
    assert "4 of 4 trials" not in capsys.readouterr().out

    assert run(["adopt", "chain"]) == 0
    assert run(["confirm", "chain", "--seeds", "2"]) == 2
    assert run(["confirm", "chain"]) == 0
    confirmed = json.loads((paths.tuning("chain") / "confirmed.json").read_text())
    assert confirmed["seeds"] == [1, 2, 3]
    assert confirmed["verdict"] in ("gain", "loss", "no gain")
    assert all(np.isfinite(point) for points in confirmed["points"].values() for point in points)
    assert run(["report-tuning", "chain"]) == 0
    page = (paths.tuning_report("chain") / "index.html").read_text()
    assert "Confirmation of trial" in page
    assert "://" not in page.replace("http://www.w3.org", "")
