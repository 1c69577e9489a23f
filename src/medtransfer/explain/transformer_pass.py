"""A transformer's blocks step by step, with everything in between: what relevance is propagated through."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medtransfer.errors import ModelError
from medtransfer.models.classifier import Classifier
from medtransfer.models.multitask import MultitaskHead
from medtransfer.models.tokens import TokenTransformer


@dataclass(frozen=True)
class BlockPass:
    """What one block made of tokens ``x`` ``[batch, tokens, width]``.

    ``attention``, ``query``, ``key``, ``value`` and ``logits`` have heads after the batch.
    """

    block: Any
    x: Tensor
    normed: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    logits: Tensor
    attention: Tensor
    mixed: Tensor
    attended: Tensor
    middle: Tensor
    normed_middle: Tensor
    hidden: Tensor
    active: Tensor
    fed: Tensor
    out: Tensor


def pass_block(block: Any, x: Float[Tensor, "batch tokens width"], *, conserving: bool = False) -> BlockPass:
    """Return the steps of one of timm's pre-norm blocks; the result is the block's own.

    Args:
        block: a block without layer scale, gates and norms of queries.
        x: tokens.
        conserving: hold the attention, the standard deviation of every norm and the ratio GELU(h) ÷ h constant, so that
            input × gradient conserves relevance in a network without biases (CP-LRP; Ali et al. 2022).
    """
    attn = block.attn
    normed = _norm(block.norm1, x, conserving)
    batch, tokens, width = x.shape
    qkv = attn.qkv(normed).reshape(batch, tokens, 3, attn.num_heads, width // attn.num_heads).permute(2, 0, 3, 1, 4)
    query, key, value = qkv.unbind(0)
    logits = query * attn.scale @ key.transpose(-2, -1)
    attention = logits.softmax(-1)
    attention = attention.detach() if conserving else attention
    mixed = (attention @ value).transpose(1, 2).reshape(batch, tokens, width)
    attended = attn.proj(mixed)
    middle = x + attended
    normed_middle = _norm(block.norm2, middle, conserving)
    hidden = block.mlp.fc1(normed_middle)
    active = hidden * _ratio(block.mlp.act(hidden), hidden).detach() if conserving else block.mlp.act(hidden)
    fed = block.mlp.fc2(active)
    steps = (x, normed, query, key, value, logits, attention, mixed, attended, middle, normed_middle, hidden, active)
    return BlockPass(block, *steps, fed, middle + fed)


def transformer_of(model: Classifier) -> tuple[MultitaskHead, TokenTransformer]:
    """Return the head of a multi-task network and its transformer.

    Raises:
        ModelError: the network has no transformer, or no diagnosis to explain.
    """
    head = model.head
    if not isinstance(head, MultitaskHead) or head.transformer is None or head.label is None:
        raise ModelError("relevance: the network has no transformer with a class head; take Grad-CAM")
    return head, head.transformer


def has_transformer(model: Classifier) -> bool:
    """Whether ``transformer_of`` accepts a network."""
    head = model.head
    return isinstance(head, MultitaskHead) and head.transformer is not None and head.label is not None


def conserving_norm(norm: nn.LayerNorm, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
    """Return the layer norm of tokens, its standard deviation held constant."""
    return _norm(norm, x, True)


def _norm(norm: Any, x: Tensor, conserving: bool) -> Tensor:
    if not conserving:
        normed: Tensor = norm(x)
        return normed
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt().detach()
    scaled: Tensor = centred / deviation * norm.weight + norm.bias
    return scaled


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """Divide, with one half, the slope of GELU at 0, where the denominator is 0."""
    return torch.where(below == 0, 0.5, above / torch.where(below == 0, 1.0, below))
