import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from medtransfer.models import attend as module
from medtransfer.models.attend import attend, attention_rows


def literal(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Eq. 1 position by position."""
    out = torch.zeros(*q.shape[:2], v.shape[2], dtype=q.dtype)
    for b in range(len(q)):
        for i in range(q.shape[1]):
            weights = [math.exp(scale * float(q[b, i] @ k[b, j])) for j in range(k.shape[1])]
            for j, weight in enumerate(weights):
                out[b, i] += weight / sum(weights) * v[b, j]
    return out


def tensors(batch: int, tokens: int, depth: int, *, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, tokens, depth, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3)]


def small_blocks(monkeypatch: pytest.MonkeyPatch, *, kept: int = 4) -> None:
    monkeypatch.setattr(module, "EXPLICIT_TOKENS", 0)
    monkeypatch.setattr(module, "BLOCK_ROWS", 4)
    monkeypatch.setattr(module, "KEPT_ROWS", kept)


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("path", ["explicit", "blocked"])
def test_agrees_with_the_literal_double_loop(path: str, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    if path == "blocked":
        small_blocks(monkeypatch)
    q, k, v = tensors(2, 10, 3)
    torch.testing.assert_close(attend(q, k, v, scale=scale), literal(q, k, v, scale), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kept", [0, 4, 8, 100])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_blocked_gradients_are_those_of_finite_differences(
    kept: int, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch, kept=kept)
    inputs = [x.requires_grad_() for x in tensors(2, 10, 3)]
    assert torch.autograd.gradcheck(lambda *x: attend(*x, scale=scale), inputs)


@pytest.mark.parametrize("tokens", [module.EXPLICIT_TOKENS - 1, 2 * module.EXPLICIT_TOKENS + 1, 1600])
@pytest.mark.parametrize("transposed", [False, True])
def test_both_sides_of_the_switch_agree_in_values_and_gradients(tokens: int, transposed: bool) -> None:
    inputs = [x * 0.5 for x in tensors(1, tokens, 16, dtype=torch.float32)]
    if transposed:
        inputs = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in inputs]
    inputs = [x.requires_grad_() for x in inputs]
    q, k, v = inputs
    out = attend(q, k, v, scale=1.0)
    expected = torch.softmax(q @ k.transpose(1, 2), -1) @ v
    upstream = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
    for mine, theirs in zip(
        (out, *torch.autograd.grad(out, inputs, upstream)),
        (expected, *torch.autograd.grad(expected, inputs, upstream)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_rows_sum_to_one_and_are_float32_for_half_inputs() -> None:
    q, k, _ = tensors(2, 9, 4, dtype=torch.float16)
    rows = attention_rows(q, k, scale=1.0)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.sum(-1), torch.ones(2, 9))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("tokens", [49, 2 * module.EXPLICIT_TOKENS + 1])
def test_logits_beyond_the_range_of_half_precision_stay_finite(dtype: torch.dtype, tokens: int) -> None:
    q, k, v = [(x * 12).to(dtype).requires_grad_() for x in tensors(1, tokens, 1024, dtype=torch.float32)]
    logits = q.detach().float() @ k.detach().float().transpose(1, 2)
    assert logits.abs().max() > torch.finfo(torch.float16).max / 4
    out = attend(q, k, v, scale=1.0)
    torch.autograd.backward(out.sum())
    assert out.dtype == dtype
    for x in (out, q.grad, k.grad, v.grad):
        assert x is not None
        assert torch.isfinite(x).all()
    expected = torch.softmax(logits, -1) @ v.detach().float()
    torch.testing.assert_close(out.float(), expected, rtol=2e-2, atol=0.3)


@pytest.mark.parametrize("tokens", [32, 2 * module.EXPLICIT_TOKENS + 1])
def test_autocast_does_not_round_the_logits(tokens: int) -> None:
    inputs = [(x * 3).requires_grad_() for x in tensors(1, tokens, 64, dtype=torch.float32)]
    with torch.autocast("cpu", torch.bfloat16):
        inside = attend(*inputs, scale=1.0)
    gradients = torch.autograd.grad(inside.sum(), inputs)
    outside = attend(*inputs, scale=1.0)
    torch.testing.assert_close(inside, outside, rtol=0, atol=0)
    for mine, theirs in zip(gradients, torch.autograd.grad(outside.sum(), inputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the largest tensor that any operation made, forward and backward."""

    size: int = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        result = function(*arguments, **(keywords or {}))
        for part in result if isinstance(result, tuple | list) else (result,):
            if isinstance(part, Tensor):
                self.size = max(self.size, part.numel())
        return result


def largest_tensor(tokens: int) -> int:
    inputs = [x.requires_grad_() for x in tensors(1, tokens, 8, dtype=torch.float32)]
    largest = Largest()  # type: ignore[no-untyped-call]
    with largest:
        torch.autograd.backward(attend(*inputs, scale=1.0).sum())
    return int(largest.size)


def test_large_maps_never_hold_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    assert largest_tensor(2304) <= module.KEPT_ROWS * 2304
    monkeypatch.setattr(module, "EXPLICIT_TOKENS", 2304)
    assert largest_tensor(2304) == 2304**2
