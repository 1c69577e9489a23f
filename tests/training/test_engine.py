"""Precision, memory format, compilation and distribution, on a CPU."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medtransfer.errors import ConfigError
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.supervised import SupervisedTask


def engine_of(**options):
    return Engine(HardwareConfig(device="cpu", **{"precision": "fp32", **options}))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_half_precision_trains_with_finite_losses(make_fit, toys, precision, clip):
    task = SupervisedTask(toys.net(), toys.classes)
    before = toys.weights(task)
    result = make_fit(task, toys.config(clip_norm=clip), engine=engine_of(precision=precision)).run()
    assert all(math.isfinite(row["train/loss"]) for row in result.history)
    assert not toys.equal(toys.weights(task), before)
    assert {tensor.dtype for tensor in task.module.parameters()} == {torch.float32}


def test_channels_last_and_contiguous_fits_agree(make_fit, toys, tmp_path):
    found = {}
    for last in (True, False):
        task = SupervisedTask(toys.net(dropout=0.0), toys.classes)
        fit = make_fit(task, toys.config(steps=6), engine=engine_of(channels_last=last), scratch=tmp_path / str(last))
        assert fit.task.module.body[0].weight.is_contiguous(memory_format=torch.channels_last) is last
        fit.run()
        found[last] = toys.weights(task)
    torch.testing.assert_close(found[True], found[False], rtol=1e-4, atol=1e-6)


def test_pictures_take_the_memory_format_and_other_values_pass(data, toys):
    batch = toys.loader(data).batch(0, 0)
    moved = engine_of().batch({"inner": batch, "name": "toy"})
    assert moved["inner"]["image"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved["inner"]["index"], batch["index"])
    assert moved["name"] == "toy"


def test_dropout_follows_the_seed():
    engine, drawn = engine_of(), []
    for seed in (1, 2, 1):
        engine.seed(seed)
        drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"hardware\.device is cuda but torch sees no GPU; use auto or cpu"):
        Engine(HardwareConfig(device="cuda"))


@pytest.mark.parametrize(
    ("amx", "avx512", "intel", "expected"),
    [
        (True, True, True, "bf16"),
        (False, True, False, "bf16"),
        (False, True, True, "fp32"),  # an Intel CPU whose AMX is hidden multiplies faster in fp32
        (False, False, False, "fp32"),
    ],
)
def test_automatic_precision_on_a_cpu_is_its_faster_one(monkeypatch, amx, avx512, intel, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr("medtransfer.training.engine._intel", lambda: intel)
    assert engine_of(precision="auto").precision == expected


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_fit_agrees_with_a_plain_one(make_fit, toys, tmp_path):
    found = []
    for compiled in (False, True):
        task = SupervisedTask(toys.net(dropout=0.0), toys.classes)
        config = toys.config(steps=3, selection=None)
        make_fit(task, config, engine=engine_of(compile=compiled), scratch=tmp_path / str(compiled)).run()
        found.append(toys.weights(task))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-5)


WORKER = Path(__file__).with_name("distributed_worker.py")


def train_together(data, out, *words):
    """Train in two processes; return what each left, or None where they did not reach the end."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(WORKER)]
    done = subprocess.run(
        [*command, str(data.folder), str(out), *words], check=False, env=environment, timeout=120, capture_output=True
    )
    assert bool(done.returncode) == bool(words), done.stderr.decode()[-2000:]
    return None if words else [torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.slow
def test_two_processes_share_the_batches_and_go_on_together_from_the_main_ones_resume_files(data, toys, tmp_path):
    first, second = train_together(data, tmp_path)
    assert toys.equal(first["weights"], second["weights"])
    assert json.loads((tmp_path / "points0.json").read_text())
    assert json.loads((tmp_path / "points1.json").read_text()) == []
    loader = toys.loader(data)
    for step, (a, b) in enumerate(zip(first["rows"], second["rows"], strict=True)):
        assert (len(a), len(b)) == (4, 4)
        assert [*a.tolist(), *b.tolist()] == loader.batch(*divmod(step, loader.steps))["index"].tolist()

    stopped = tmp_path / "stopped"
    stopped.mkdir()
    train_together(data, stopped, "5")
    assert (stopped / "resume0" / "state.json").exists()
    assert not (stopped / "resume1").exists()
    for one, straight in zip(train_together(data, stopped), (first, second), strict=True):
        assert toys.equal(one["weights"], straight["weights"])
        assert len(one["rows"]) == len(straight["rows"]) - 5


FAULTS = """
import resource, sys
import torch
from medtransfer.training.engine import Engine, HardwareConfig
if sys.argv[1] == "engine":
    Engine(HardwareConfig(device="cpu"))
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(12):  # the first ones find their places
    torch.ones(16 << 20)
before = faults()
for _ in range(4):
    torch.ones(16 << 20)
print((faults() - before) * resource.getpagesize() / (64 << 20))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator of glibc")
def test_memory_of_one_step_serves_the_next_on_a_cpu():
    def mapped_anew(how):
        done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert mapped_anew("engine") < 0.1
    assert mapped_anew("none") > 1
