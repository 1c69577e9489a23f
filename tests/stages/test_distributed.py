"""The command line under torchrun: two processes train one network and keep one record of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medtransfer.cli import run
from medtransfer.files import read_json
from medtransfer.paths import FitPaths

STUDY = "attentive_transfer"
NETWORK = "resnet18_attn1"
WORKER = Path(__file__).with_name("distributed_worker.py")
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(WORKER)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "chain", "folder", "prefix"),
    [("finetune", "none", "finetune", ""), ("sstl_m", "none-sstl_m", "pretrain", "encoder.")],
)
def test_two_processes_train_one_network_and_track_one_run(phase, chain, folder, prefix, toy, capsys):
    from mlflow import MlflowClient

    small = {"crop": 32, "hflip": 0.5}
    study = toy.params[STUDY]
    study["sstl_m_after"] = ["none"]
    study["sstl_m"] |= {"augment": small, "region_augment": {"crop": 16}, "region_size": 16, "probe_neighbours": 4}
    study["sstl_m"]["method"]["queue"] = 8
    study["sstl_m"]["train"] = study["finetune"]["train"] | {"batch_size": 8, "selection": None}
    toy.write_params()
    toy.draw(counts=(16, 8, 8))
    for words in (["prepare", "ct"], ["fit", STUDY, "start", NETWORK]):
        assert run(words) == 0, capsys.readouterr().err
    words = ["fit", STUDY, phase, NETWORK, "--condition", chain]
    paths = FitPaths(study=STUDY, folder=folder, variant=NETWORK, condition=chain, seed=0)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*LAUNCH, str(toy.folder), *words], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]

    first, second = (torch.load(toy.folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    stored = load_file(paths.weights / "model.safetensors")
    assert all(torch.equal(value, first[prefix + name]) for name, value in stored.items())

    client = MlflowClient(f"sqlite:///{toy.folder}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name(STUDY).experiment_id])
    record = read_json(paths.records / "run.json")
    assert [(one.info.run_id, one.info.status) for one in found] == [(record["run_id"], "FINISHED")]
    assert found[0].data.params["world"] == "2"
    assert len(client.get_metric_history(record["run_id"], "train/loss")) == 1
