"""Softmax attention over all positions by the fastest path for its size; no token × token matrix for large maps."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

EXPLICIT_TOKENS = 1024
"""Up to this many tokens the whole matrix is kept, which saves computing it again for the gradient."""

BLOCK_ROWS = 512
"""Query rows whose logits exist at one time above ``EXPLICIT_TOKENS``."""


def attend(
    q: Float[Tensor, "batch queries depth"],
    k: Float[Tensor, "batch keys depth"],
    v: Float[Tensor, "batch keys values"],
    *,
    scale: float,
) -> Float[Tensor, "batch queries values"]:
    """Return ``softmax(scale · q kᵀ) v``, the softmax taken over keys (Liu & Ji 2021, Eq. 1 in row form).

    Logits and softmax are computed in float32 for narrower inputs, under autocast too; the result has the inputs' type.
    On a processor up to ``EXPLICIT_TOKENS`` keys the matrix is explicit, above that blocks of rows are computed and
    recomputed for the gradient, so memory grows linearly with the tokens. On CUDA the fused kernel does the same.
    """
    with torch.autocast(q.device.type, enabled=False):
        if _fused_is_linear(q):
            return _fused(q, k, v, scale)
        if k.shape[1] <= EXPLICIT_TOKENS:
            return attention_rows(q, k, scale=scale).to(v.dtype) @ v
        return cast(Tensor, _BlockedAttention.apply(q, k, v, scale))


def attention_rows(
    q: Float[Tensor, "batch queries depth"], k: Float[Tensor, "batch keys depth"], *, scale: float
) -> Float[Tensor, "batch queries keys"]:
    """Return rows of the attention matrix, ``A[q, k] = softmax_k(scale · q·k)``, in float32 or wider."""
    with torch.autocast(q.device.type, enabled=False):
        return torch.softmax(_wide(q) @ _wide(k).transpose(1, 2) * scale, dim=-1)


def _wide(x: Tensor) -> Tensor:
    """Return float32 for narrower types: unscaled logits of depth 1024 overflow float16."""
    return x if x.dtype == torch.float64 else x.float()


def _fused_is_linear(q: Tensor) -> bool:
    """Whether torch's fused kernel takes this input; otherwise it would silently build the whole matrix."""
    return q.is_cuda and q.dtype != torch.float64 and q.shape[-1] % 8 == 0


def _fused(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    # the kernels want the last axis contiguous and a head axis; NCHW maps arrive transposed
    q, k, v = (x.contiguous().unsqueeze(1) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, scale=scale).squeeze(1)


class _BlockedAttention(torch.autograd.Function):
    """Attention one image and one block of query rows at a time; the gradient computes each block's rows again.

    With ``P = softmax(scale q kᵀ)``, ``o = P v`` and the gradient ``g`` of ``o``: ``dv = Pᵀ g``, ``dP = g vᵀ``,
    ``dS = P ∘ (dP - rowsum(P ∘ dP))``, ``dq = scale dS k``, ``dk = scale dSᵀ q``.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        out = torch.empty_like(q[..., :1].expand(*q.shape[:2], v.shape[-1]), memory_format=torch.contiguous_format)
        for image, (queries, keys, values) in enumerate(zip(q, k, v, strict=True)):
            queries, keys = _wide(queries) * scale, _wide(keys)
            logits = _buffer(queries, keys)
            for rows in _blocks(len(queries)):
                weights = _softmax_rows(queries[rows], keys, logits)
                torch.mm(weights.to(values.dtype), values, out=out[image, rows])
        ctx.save_for_backward(q, k, v)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v = ctx.saved_tensors
        grad = grads[0].contiguous()
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        with torch.autocast(q.device.type, enabled=False):
            for image in range(len(q)):
                parts = _image_gradient(q[image], k[image], v[image], grad[image], ctx.scale)
                for target, part in zip((dq, dk, dv), parts, strict=True):
                    target[image] = part
        return dq, dk, dv, None


def _image_gradient(q: Tensor, k: Tensor, v: Tensor, grad: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of one image, ``[tokens, depth]`` each; sums over blocks are kept in float32 or wider."""
    queries, keys = _wide(q) * scale, _wide(k)
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(keys), torch.zeros_like(_wide(v))
    logits = _buffer(queries, keys)
    for rows in _blocks(len(q)):
        weights = _softmax_rows(queries[rows], keys, logits)
        d_weights = _wide(grad[rows] @ v.T)
        d_logits = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype).to(q.dtype)
        _accumulate(dv, weights.to(v.dtype).T, grad[rows])
        torch.mm(d_logits, k, out=dq[rows])
        _accumulate(dk, d_logits.T, q[rows])
    return dq.mul_(scale), dk.mul_(scale), dv


def _blocks(tokens: int) -> list[slice]:
    return [slice(start, min(start + BLOCK_ROWS, tokens)) for start in range(0, tokens, BLOCK_ROWS)]


def _buffer(queries: Tensor, keys: Tensor) -> Tensor:
    """One block of logits, reused: fresh memory of this size costs as much as the product that fills it."""
    return queries.new_empty(min(BLOCK_ROWS, len(queries)), len(keys))


def _softmax_rows(queries: Tensor, keys: Tensor, logits: Tensor) -> Tensor:
    block = logits[: len(queries)]
    return torch.softmax(torch.mm(queries, keys.T, out=block), dim=-1, out=block)


def _accumulate(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)
