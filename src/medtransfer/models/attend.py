"""Softmax attention over all positions by the fastest path for its size; no token × token matrix for large maps."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

EXPLICIT_TOKENS = 512
"""Up to this many tokens the whole matrix is kept, which saves computing it again for the gradient.

In float32 up to twice as many: narrower types win earlier from blocks, because their logits are computed in float32.
"""

KEPT_ROWS = 1536
"""Above ``EXPLICIT_TOKENS`` this many rows are still kept for the gradient: linear memory, and half the extra work."""

BLOCK_ROWS = 512
"""Query rows whose logits exist at one time above ``EXPLICIT_TOKENS``."""

FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
"""Kernels on CUDA. cuDNN's gradient is not a number where the log-sum of a row's exponentials is below about -88, which
unscaled logits reach (pytorch issue 196678)."""


def attend(
    q: Float[Tensor, "batch queries depth"],
    k: Float[Tensor, "batch keys depth"],
    v: Float[Tensor, "batch keys values"],
    *,
    scale: float,
) -> Float[Tensor, "batch queries values"]:
    """Return ``softmax(scale · q kᵀ) v``, the softmax taken over keys (Liu & Ji 2021, Eq. 1 in row form).

    Logits and softmax are computed in float32 for narrower inputs, under autocast too; the result has the inputs' type.
    On a CPU up to ``EXPLICIT_TOKENS`` keys the matrix is explicit, above that blocks of rows are computed and
    recomputed for the gradient, so memory grows linearly with the tokens. On CUDA the fused kernel does the same.
    """
    with torch.autocast(q.device.type, enabled=False):
        if _fused_is_linear(q, v):
            return _fused(q, k, v, scale)
        if k.shape[1] <= EXPLICIT_TOKENS * (2 if q.dtype == torch.float32 else 1):
            return attention_rows(q, k, scale=scale).to(v.dtype) @ v
        return cast(Tensor, _BlockedAttention.apply(q, k, v, scale))


def attention_rows(
    q: Float[Tensor, "batch queries depth"], k: Float[Tensor, "batch keys depth"], *, scale: float
) -> Float[Tensor, "batch queries keys"]:
    """Return rows of the attention matrix, ``A[q, k] = softmax_k(scale · q·k)``, in float32 or wider."""
    with torch.autocast(q.device.type, enabled=False):
        queries = _wide(q) if scale == 1 else _wide(q) * scale  # a pass over 49 tokens notices a product with 1
        return torch.softmax(queries @ _wide(k).transpose(1, 2), dim=-1)


def _wide(x: Tensor) -> Tensor:
    """Return float32 for narrower types: unscaled logits of depth 1024 overflow float16."""
    return x if x.dtype == torch.float64 else x.float()


def _fused_is_linear(q: Tensor, v: Tensor) -> bool:
    """Whether one of the ``FUSED`` kernels takes this input: depths that are a multiple of 8, at most float32."""
    return q.is_cuda and q.dtype != torch.float64 and q.shape[-1] % 8 == 0 and v.shape[-1] % 8 == 0


def _fused(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    # the kernels want the last axis contiguous and a head axis; NCHW maps arrive transposed
    q, k, v = (x.contiguous().unsqueeze(1) for x in (q, k, v))
    with sdpa_kernel(FUSED):
        return F.scaled_dot_product_attention(q, k, v, scale=scale).squeeze(1)


class _BlockedAttention(torch.autograd.Function):
    """Attention one image and one block of query rows at a time; the gradient computes rows again that were not kept.

    With ``P = softmax(scale q kᵀ)``, ``o = P v`` and the gradient ``g`` of ``o``: ``dv = Pᵀ g``, ``dP = g vᵀ``,
    ``dS = P ∘ (dP - rowsum(P ∘ dP))``, ``dq = scale dS k``, ``dk = scale dSᵀ q``.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        out = q.new_empty(*q.shape[:2], v.shape[-1])
        kept_rows = min(KEPT_ROWS, q.shape[1]) if any(ctx.needs_input_grad) else 0
        kept = _wide(q[:0]).new_empty(len(q), kept_rows, k.shape[1])
        for image in range(len(q)):
            rows_of = _Rows(q[image], k[image], kept[image], scale)
            for rows in rows_of.blocks:
                torch.mm(rows_of.compute(rows).to(v.dtype), v[image], out=out[image, rows])
        ctx.save_for_backward(q, k, v, kept)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, kept = ctx.saved_tensors
        grad = grads[0].contiguous()
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        with torch.autocast(q.device.type, enabled=False):
            for image in range(len(q)):
                rows_of = _Rows(q[image], k[image], kept[image], ctx.scale)
                dk[image], dv[image] = _image_gradient(rows_of, v[image], grad[image], dq[image])
        return dq.mul_(ctx.scale), dk.mul_(ctx.scale), dv, None


class _Rows:
    """Rows of one image's attention matrix by blocks: the first ones live in ``kept``, the others in one buffer."""

    def __init__(self, q: Tensor, k: Tensor, kept: Tensor, scale: float) -> None:
        self.q, self.k, self.kept = q, k, kept
        self._queries, self._keys = _wide(q) * scale, _wide(k).T
        # one buffer for all blocks: fresh memory of this size costs as much as the product that fills it
        self._buffer = self._queries.new_empty(min(BLOCK_ROWS, len(q)), len(k))
        starts = range(0, len(q), BLOCK_ROWS)
        self.blocks = [slice(start, min(start + BLOCK_ROWS, len(q))) for start in starts]

    def compute(self, rows: slice) -> Tensor:
        """Return a block of rows, valid until the next call."""
        block = self.kept[rows] if rows.stop <= len(self.kept) else self._buffer[: rows.stop - rows.start]
        return torch.softmax(torch.mm(self._queries[rows], self._keys, out=block), dim=-1, out=block)

    def recall(self, rows: slice) -> Tensor:
        """Return a block again: as it was kept, else computed again."""
        return self.kept[rows] if rows.stop <= len(self.kept) else self.compute(rows)


def _image_gradient(rows_of: _Rows, v: Tensor, grad: Tensor, dq: Tensor) -> tuple[Tensor, Tensor]:
    """Fill ``dq`` of one image and return ``dk`` and ``dv``, summed in float32 or wider; the scale is left out."""
    dk, dv = torch.zeros_like(_wide(rows_of.k)), torch.zeros_like(_wide(v))
    for rows in rows_of.blocks:
        weights = rows_of.recall(rows)
        d_weights = _wide(grad[rows] @ v.T)
        d_logits = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype).to(dq.dtype)
        _accumulate(dv, weights.to(v.dtype).T, grad[rows])
        torch.mm(d_logits, rows_of.k, out=dq[rows])
        _accumulate(dk, d_logits.T, rows_of.q[rows])
    return dk, dv


def _accumulate(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)
