"""Relevance propagation through a transformer: which positions of the feature map a diagnosis rests on."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medtransfer.errors import ModelError
from medtransfer.explain.capture import to_unit_heat, undisturbed
from medtransfer.explain.relevance_rules import through_linear, through_product, through_sum
from medtransfer.explain.transformer_pass import BlockPass, conserving_norm, pass_block, transformer_of
from medtransfer.models.classifier import Classifier


def relevance_map(
    model: Classifier, images: Float[Tensor, "batch 3 h w"], output: int
) -> Float[Tensor, "batch {images.shape[2]} {images.shape[3]}"]:
    """Return where the evidence for one class is, on 0–1 at the images' size (Chefer et al. 2021; Park et al. 2022).

    Relevance of the class's logit is propagated back to the attention of every block, weighted by the gradient of the
    logit, and multiplied through the blocks: ``Ā_b = I + mean_heads(max(0, ∂logit/∂A_b · R_b))``; the class token's row
    of ``Ā_L … Ā_1`` is the map.

    Args:
        model: a multi-task network with a transformer and a class head.
        images: normalised images.
        output: class.

    Raises:
        ModelError: the network has no transformer, or no such class.
    """
    head, transformer = transformer_of(model)
    weight = _class_weight(model, output)
    with undisturbed(model):
        with torch.no_grad():
            maps = model.feature_map(images)
        with torch.enable_grad():
            tokens = transformer.embed(maps.detach()).detach().requires_grad_()
            passes: list[BlockPass] = []
            for block in transformer.blocks:
                passes.append(pass_block(block, passes[-1].out if passes else tokens))
            features = transformer.norm(passes[-1].out)[:, 0]
            logit = cast(nn.Linear, head.label)(features)[:, output].sum()
            gradients = torch.autograd.grad(logit, [one.attention for one in passes])
        with torch.no_grad():
            relevances = _attention_relevance(passes, features.detach(), weight)
            row = rolled_out(gradients, relevances)[:, 0, 1:]
    return to_unit_heat(row.reshape(-1, *transformer.grid), (images.shape[2], images.shape[3]))


def rolled_out(
    gradients: Sequence[Float[Tensor, "batch heads tokens tokens"]],
    relevances: Sequence[Float[Tensor, "batch heads tokens tokens"]],
) -> Float[Tensor, "batch tokens tokens"]:
    """Return ``Ā_L … Ā_1`` of blocks in the order in which they run."""
    product: Tensor | None = None
    for gradient, relevance in zip(gradients, relevances, strict=True):
        mixing = (gradient * relevance).clamp(min=0).mean(1)
        mixing = mixing + torch.eye(mixing.shape[-1], dtype=mixing.dtype, device=mixing.device)
        product = mixing if product is None else mixing @ product
    if product is None:
        raise ModelError("relevance: no block to roll out; pass the gradients of one at least")
    return product


def conserved_relevance(
    model: Classifier, images: Float[Tensor, "batch 3 h w"], output: int
) -> Float[Tensor, "batch tokens"]:
    """Return the signed relevance of every token, the class token first; without biases they sum to the logit.

    Input × gradient with attention, the deviation of norms and the ratio of GELU held constant (CP-LRP; Ali et al.
    2022). What biases add to the logit is nobody's.

    Arguments and errors as those of :func:`relevance_map`.
    """
    head, transformer = transformer_of(model)
    _class_weight(model, output)
    with undisturbed(model), torch.enable_grad():
        with torch.no_grad():
            maps = model.feature_map(images)
        start = tokens = transformer.embed(maps.detach()).detach().requires_grad_()
        for block in transformer.blocks:
            tokens = pass_block(block, tokens, conserving=True).out
        features = conserving_norm(transformer.norm, tokens)[:, 0]
        logit = cast(nn.Linear, head.label)(features)[:, output].sum()
        (gradient,) = torch.autograd.grad(logit, start)
    return (start * gradient).sum(-1).detach()


def _class_weight(model: Classifier, output: int) -> Tensor:
    head, _ = transformer_of(model)
    weight = cast(nn.Linear, head.label).weight.detach()
    if not 0 <= output < len(weight):
        raise ModelError(
            f"relevance: class {output} does not exist, the network has {len(weight)}; take 0 to {len(weight) - 1}"
        )
    return weight[output : output + 1]


def _attention_relevance(passes: Sequence[BlockPass], features: Tensor, weight: Tensor) -> list[Tensor]:
    """Return the relevance of every block's attention, in running order.

    It starts as 1 at the class's logit and reaches the class token alone; norms, GELU and softmax pass it on.
    """
    relevance = torch.zeros_like(passes[-1].out)
    relevance[:, 0] = through_linear(features.new_ones(len(features), 1), features, weight)
    kept = []
    for one in reversed(passes):
        of_attention, relevance = _back_through(one, relevance)
        kept.append(of_attention)
    return kept[::-1]


def _back_through(one: BlockPass, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the relevance of a block's attention, and of its input."""
    mlp, attn = one.block.mlp, one.block.attn
    straight, fed = through_sum(relevance, one.middle, one.fed)
    hidden = through_linear(fed, one.active, mlp.fc2.weight)
    middle = straight + through_linear(hidden, one.normed_middle, mlp.fc1.weight)
    straight, attended = through_sum(middle, one.x, one.attended)
    mixed = through_linear(attended, one.mixed, attn.proj.weight)
    by_head = mixed.reshape(*mixed.shape[:2], attn.num_heads, -1).transpose(1, 2)
    of_attention, of_value = through_product(by_head, one.attention, one.value)
    of_query, of_key = through_product(of_attention, one.query, one.key.transpose(-2, -1))
    parts = torch.stack([of_query, of_key.transpose(-2, -1), of_value])
    qkv = parts.permute(1, 3, 0, 2, 4).flatten(2)
    return of_attention, straight + through_linear(qkv, one.normed, attn.qkv.weight)
