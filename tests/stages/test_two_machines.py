"""The guide to several machines, on loopback: its commands train on A and B, go on on B, tune on both, evaluate on C.

Machines are folders with caches of their own. They share a git origin, a tracking server (PostgreSQL, artefacts on S3)
and moto's S3 server.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml

from medtransfer.files import read_json, sha256_file

GUIDE = Path(__file__).parent.parent.parent / "docs" / "operating.md"
BLOCKS = dict(re.findall(r"```bash\n# ([a-z ]+)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))
STUDY, NETWORK, SEARCH = "attentive_transfer", "test_resnet_attn1", "cut"
EPOCHS = 24
FIT = f"finetune/{NETWORK}/none/seed0"
RECORD, WEIGHTS = f"out/{STUDY}/records/{FIT}/run.json", f"out/{STUDY}/weights/{FIT}/model.safetensors"
IN_BUCKET = {"Bucket": "medtransfer"}
PIPELINE = {
    "stages": {
        "prepare": {
            "cmd": "medtransfer prepare ct && medtransfer gate",
            "deps": ["data"],
            "outs": ["out/datasets/ct", "out/gate"],
        },
        "start": {
            "cmd": f"medtransfer fit {STUDY} start {NETWORK}",
            "deps": ["out/datasets/ct"],
            "outs": [f"out/{STUDY}/weights/pretrain"],
        },
    }
}
GIT = "[user]\nname = Somebody\nemail = somebody@localhost\n[init]\ndefaultBranch = main\n"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Machines:
    """Runs blocks of the guide in a folder, with the addresses that stand on this machine for those of the guide."""

    def __init__(self, home, names):
        self.names = names
        (home / ".gitconfig").write_text(GIT, encoding="utf-8")
        self.environment = {
            "HOME": str(home),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "GLOO_SOCKET_IFNAME": "lo",
        }
        self.running = []

    def script(self, name):
        """A block with the shared addresses exported before it, and nothing else of the environment."""
        text = BLOCKS["everywhere"] + BLOCKS.get(name, name)
        for ours, here in self.names.items():
            text = text.replace(ours, here)
        return "set -eu\n" + text

    def start(self, name, folder):
        log = (Path(self.environment["HOME"]) / f"{len(self.running)}.log").open("w+")
        command = ["bash", "-c", self.script(name)]
        process = subprocess.Popen(
            command, cwd=folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
        )
        process.log = Path(log.name)
        self.running.append(process)
        return process

    def run(self, name, folder):
        """Run to the end; return what was printed."""
        return self.finish(self.start(name, folder), name)

    def finish(self, process, name):
        code = process.wait(240)
        said = process.log.read_text(encoding="utf-8")
        assert code == 0, f"{name}: {said[-3000:]}"
        return said

    def kill(self, process):
        """End a command and all that it started, without a word: torchrun's processes have groups of their own."""
        if process.poll() is None:
            top = psutil.Process(process.pid)
            for each in (top, *top.children(recursive=True)):
                each.kill()
            process.wait()


def wait_for(ready, *processes, seconds=120):
    deadline = time.monotonic() + seconds
    while not ready():
        ended = [process.log.read_text()[-3000:] for process in processes if process.poll() is not None]
        assert not ended, ended
        assert time.monotonic() < deadline, [process.log.read_text()[-2000:] for process in processes]
        time.sleep(0.1)


def answers(address):
    try:
        urllib.request.urlopen(f"{address}/health", timeout=1).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


@pytest.fixture
def storage(caplog):
    """An S3 server on loopback with one bucket; Flask, which moto's server needs, comes with MLflow."""
    import boto3
    from moto.server import ThreadedMotoServer

    caplog.set_level("ERROR", "werkzeug")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"aws_access_key_id": "KEY", "aws_secret_access_key": "SECRET", "region_name": "us-east-1"}
    store = boto3.client("s3", endpoint_url=address, **keys)
    store.create_bucket(**IN_BUCKET)
    yield store
    server.stop()


@pytest.fixture
def machines(postgres, storage, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    port, database = free_port(), postgres.removesuffix("/postgres")
    names = {
        "--host 0.0.0.0 --port 5000": f"--host 127.0.0.1 --port {port}",
        "hub:5000": f"127.0.0.1:{port}",
        "http://hub:9000": storage.meta.endpoint_url,
        "postgresql://me:secret@hub": database.replace("+psycopg", ""),
        "postgresql+psycopg://me:secret@hub": database,
        "a:29500": f"127.0.0.1:{free_port()}",
        "resnet18_attn5": NETWORK,
        "ORIGIN": str(home / "origin.git"),
    }
    made = Machines(home, names)
    made.tracking = f"http://127.0.0.1:{port}"
    made.run("git init -q --bare origin.git", home)
    hub = made.start("hub", home)
    wait_for(lambda: answers(made.tracking), hub)
    yield made
    for process in made.running:
        made.kill(process)


@pytest.fixture
def first(toy, machines):
    """Machine A: a checkout with a small pipeline that has run, pushed to the origin."""
    section = toy.params[STUDY]
    section["networks"] = [NETWORK]
    section["finetune"]["train"] = section["finetune"]["train"] | {"epochs": EPOCHS, "save_every_s": 0.2}
    toy.params["tuning"] = {
        SEARCH: {
            "study": STUDY,
            "fits": [{"phase": "finetune", "variant": NETWORK, "condition": "none"}],
            "space": {f"{STUDY}.finetune.train.optimizer.lr": {"kind": "log", "low": 1e-4, "high": 1e-2}},
            "fixed": {f"{STUDY}.finetune.train.epochs": 1},
            "objectives": [{"metric": "val/auroc_covid"}],
            "budget": {"trials": 3},
        }
    }
    toy.write_params()
    toy.draw(counts=(16, 10, 10))
    (toy.folder / "data.dvc").unlink()
    (toy.folder / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE), encoding="utf-8")
    (toy.folder / ".gitignore").write_text("/.scratch/\n/mlflow.db*\n", encoding="utf-8")
    made = "git init -q && git remote add origin ORIGIN && dvc init -q && dvc add -q data && dvc repro -q\n"
    machines.run(made + "git config push.autoSetupRemote true", toy.folder)
    machines.run("a shares", toy.folder)
    return toy.folder


def stopped_after_some_steps(machines, first, second):
    """Train on both machines, until the first one dies without a word; return the step of its resume file."""

    def state():
        return next(first.glob(f".scratch/fits/{STUDY}/{FIT}/*/resume/state.json"), None)

    training = [machines.start("a trains", first), machines.start("b trains", second)]
    wait_for(lambda: state() and json.loads(state().read_text())["newest"]["step"] >= 10, *training)
    for process in training:
        machines.kill(process)
    assert not list(second.glob(".scratch/fits/**/state.json"))
    return json.loads(state().read_text())["newest"]["step"]


@pytest.mark.slow
@pytest.mark.postgres
def test_two_machines_train_and_tune_together_and_a_third_evaluates(first, machines, storage, tmp_path_factory):
    from mlflow import MlflowClient

    elsewhere = [tmp_path_factory.mktemp(name) for name in "bc"]
    machines.run("b joins", elsewhere[0])
    second, third = (folder / "medtransfer" for folder in elsewhere)
    step = stopped_after_some_steps(machines, first, second)

    machines.run("a hands over", first)
    said = machines.run("b takes over", second)
    assert f"resumed at step {step} of {EPOCHS * 4}" in " ".join(said.split())
    record = read_json(second / RECORD)
    client = MlflowClient(machines.tracking)
    (fit,) = runs(client, "tags.phase = 'finetune'")
    assert (fit.info.run_id, fit.info.status, fit.data.tags["resumes"]) == (record["run_id"], "FINISHED", "1")
    assert fit.data.params["world"] == "2"
    assert len(client.get_metric_history(record["run_id"], "train/loss")) == EPOCHS

    machines.run(f"mv .scratch straight\n{BLOCKS['b takes over'].splitlines()[-1]}", first)
    assert sha256_file(first / WEIGHTS) == sha256_file(second / WEIGHTS)

    tune_on_both(machines, first, second)
    assert len(runs(client, "tags.phase = 'search-trial'")) == 5
    assert len(runs(client, "tags.phase = 'search' and tags.best_trial != ''")) == 1

    machines.run("\n".join(f"medtransfer {verb} {STUDY}" for verb in ("predict", "score", "audit", "register")), second)
    kept = storage.list_objects_v2(**IN_BUCKET, Prefix="mlflow/")["Contents"]
    assert {"model.safetensors", "learning_curves.png"} <= {item["Key"].rpartition("/")[2] for item in kept}
    machines.run("c evaluates", elsewhere[1])
    assert read_json(third / "out/evaluate/metrics.json")["images"] == 36
    assert not (third / "mlflow.db").exists()


def runs(client, query):
    return client.search_runs([client.get_experiment_by_name(STUDY).experiment_id], query)


def tune_on_both(machines, first, second):
    """Search on both: the second has a larger budget, so that trials are left however late it begins."""
    params = yaml.safe_load((second / "params.yaml").read_text(encoding="utf-8"))
    params["tuning"][SEARCH]["budget"]["trials"] = 5
    (second / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    trials = [folder / f".scratch/tuning/{SEARCH}" for folder in (first, second)]
    one = machines.start("both tune", first)
    wait_for(lambda: (trials[0] / "trial0").exists(), one)
    machines.run("both tune", second)
    machines.finish(one, "both tune")
    taken = [{entry.name for entry in folder.glob("trial*")} for folder in trials]
    assert not taken[0] & taken[1]
    assert len(taken[1]) >= 2
    assert taken[0] | taken[1] == {f"trial{number}" for number in range(5)}
    result = read_json(second / f"out/tuning/{SEARCH}/trials.json")
    assert [trial["state"] for trial in result["trials"]] == ["COMPLETE"] * 5
