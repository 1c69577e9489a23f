"""The same training on a GPU: every precision, memory format and compilation against fp32 on the CPU."""

import math

import pytest
import torch
from tests.training.test_resume import StopError, stop_after

from medtransfer.models.attend import attend
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.optim import AdamConfig, SGDConfig
from medtransfer.training.supervised import SupervisedTask

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

DEVIATION = {"fp32": 1e-3, "bf16": 5e-2, "fp16": 2e-2}
"""Largest difference of a weight after six steps, ÷ the largest change of a weight by these steps."""


def fitted(make_fit, toys, scratch, **hardware):
    task = SupervisedTask(toys.net(dropout=0.0), toys.classes)
    before = {name: tensor.clone() for name, tensor in toys.weights(task).items()}
    engine = Engine(HardwareConfig(**hardware))
    history = make_fit(task, toys.config(steps=6), engine=engine, scratch=scratch).run().history
    after = {name: tensor.cpu() for name, tensor in toys.weights(task).items()}
    return before, after, history


def largest(one, other):
    return max(
        float((one[name].cpu() - other[name].cpu()).abs().max()) for name in one if one[name].is_floating_point()
    )


@pytest.mark.parametrize("last", [True, False], ids=["channels-last", "contiguous"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_fit_on_a_gpu_ends_where_the_cpu_ends(make_fit, toys, tmp_path, precision, last):
    before, expected, _ = fitted(make_fit, toys, tmp_path / "cpu", device="cpu", precision="fp32")
    found = fitted(make_fit, toys, tmp_path / "gpu", device="cuda", precision=precision, channels_last=last)
    assert all(math.isfinite(row["train/loss"]) for row in found[2])
    assert largest(expected, found[1]) <= DEVIATION[precision] * largest(expected, before)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_killed_fit_on_a_gpu_continues(make_fit, toys, tmp_path, name):
    optimizer = {"adamw": AdamConfig(name="adamw", lr=0.01), "sgd": SGDConfig(lr=0.01, momentum=0.9)}[name]
    engine, config = (
        Engine(HardwareConfig(device="cuda", precision="fp32")),
        toys.config(steps=6, optimizer=optimizer, save_every_s=1e-9),
    )
    whole, parts = (SupervisedTask(toys.net(dropout=0.0), toys.classes) for _ in range(2))
    before = {key: tensor.clone() for key, tensor in toys.weights(whole).items()}
    make_fit(whole, config, engine=engine, scratch=tmp_path / "whole").run()
    fit = make_fit(parts, config, engine=engine, scratch=tmp_path / "parts")
    with pytest.raises(StopError):
        stop_after(fit, 3).run()
    again = SupervisedTask(toys.net(dropout=0.0), toys.classes)
    make_fit(again, config, engine=engine, scratch=tmp_path / "parts").run()
    assert largest(toys.weights(whole), toys.weights(again)) <= 1e-3 * largest(toys.weights(whole), before)


@pytest.mark.parametrize("tokens", [16, 49, 64, 192, 1024])
def test_unscaled_logits_far_below_zero_have_a_gradient(tokens):
    # after a warm-up with the paper's logits, rows of -500 to 8,700 were seen; cuDNN's gradient is NaN there
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, tokens, 16, generator=generator) for _ in range(3))
    q, k = 8 * q.abs(), -8 * k.abs()
    found = []
    for device in ("cpu", "cuda"):
        own = [x.to(device, torch.bfloat16).requires_grad_() for x in (q, k, v)]
        attend(*own, scale=1.0).float().square().sum().backward()
        found.append([x.grad.float().cpu() for x in own])
    assert float((q @ k.transpose(1, 2)).logsumexp(-1).max()) < -100
    for expected, other in zip(*found, strict=True):
        assert torch.isfinite(other).all()
        assert (expected - other).abs().max() <= 5e-2 * expected.abs().max()


def test_auto_takes_the_gpu_and_bf16():
    engine = Engine(HardwareConfig())
    assert engine.device.type == "cuda"
    assert engine.precision in ("bf16", "fp16")


def test_a_compiled_fit_on_a_gpu_ends_where_the_plain_one_ends(make_fit, toys, tmp_path):
    before, expected, _ = fitted(make_fit, toys, tmp_path / "plain", device="cuda", precision="fp32")
    _, found, _ = fitted(make_fit, toys, tmp_path / "compiled", device="cuda", precision="fp32", compile=True)
    assert largest(expected, found) <= DEVIATION["fp32"] * largest(expected, before)
