"""Attention rollout of transformers (Abnar & Zuidema 2020): how much of each position reaches the class token."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medtransfer.errors import ModelError
from medtransfer.explain.capture import inputs_of, to_unit_heat, undisturbed
from medtransfer.explain.layers import grid_of


def attention_blocks(model: nn.Module) -> list[Any]:
    """Return the self-attention modules of timm's transformers, in order; empty in a convolutional network."""
    return [
        module for module in model.modules() if all(hasattr(module, name) for name in ("qkv", "attn_drop", "num_heads"))
    ]


@torch.no_grad()
def attention_rollout(
    model: nn.Module, images: Float[Tensor, "batch 3 h w"]
) -> Float[Tensor, "batch {images.shape[2]} {images.shape[3]}"]:
    """Return the row of the class token in ``Π_b (A_b + I) / 2``, heads averaged, on 0–1 at the images' size.

    Without a class token, all rows are averaged. Rollout knows no class: it is the same for every output.

    Args:
        model: a network with timm's transformer blocks and a square grid of tokens.
        images: normalised images.

    Raises:
        ModelError: the network has no such blocks, or its tokens are no square grid with at most one class token.
    """
    blocks = attention_blocks(model)
    if not blocks:
        raise ModelError("attention rollout: the network has no transformer; take grad_cam or saliency")
    with undisturbed(model), attentions(blocks) as seen:
        model(images)
        maps = [one[0] for one in seen]
    product = rolled([one.float() for one in maps])
    tokens = product.shape[-1]
    prefix, side = grid_of(tokens)
    if prefix > 1:
        raise ModelError(f"attention rollout: {tokens} tokens are no square grid with at most one class token")
    row = product[:, 0, 1:] if prefix else product.mean(1)
    return to_unit_heat(row.reshape(-1, side, side), (images.shape[2], images.shape[3]))


def rolled(maps: list[Float[Tensor, "batch heads tokens tokens"]]) -> Float[Tensor, "batch tokens tokens"]:
    """Return the product of ``(mean over heads + I) / 2`` of attention maps in the order in which they run."""
    eye = torch.eye(maps[0].shape[-1], device=maps[0].device)
    product = eye.expand(len(maps[0]), -1, -1)
    for attention in maps:
        product = (attention.mean(1) + eye) / 2 @ product
    return product


@contextmanager
def attentions(blocks: list[Any]) -> Iterator[list[list[Tensor]]]:
    """Collect the attention ``[batch, heads, tokens, tokens]`` of each block; fused attention is off meanwhile."""
    fused = [getattr(block, "fused_attn", False) for block in blocks]
    try:
        for block in blocks:
            block.fused_attn = False
        with ExitStack() as stack:
            yield [stack.enter_context(inputs_of(block.attn_drop)) for block in blocks]
    finally:
        for block, before in zip(blocks, fused, strict=True):
            block.fused_attn = before
