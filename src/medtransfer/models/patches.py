"""Vision transformers of timm as trunks: the tokens of the patches are read as a map."""

from functools import cache
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

MODULES = ("vision_transformer", "vision_transformer_hybrid")
"""timm's modules whose networks have a class token, patches and learned positions."""


def is_patch_network(name: str) -> bool:
    """Return whether timm's network is a vision transformer, pure or on a convolutional stem."""
    from timm.models import is_model_in_modules

    return bool(is_model_in_modules(name, MODULES))


def as_map(trunk: nn.Module) -> nn.Module:
    """Let a vision transformer return the map of its patches; its weights and their keys stay as they are.

    Args:
        trunk: a network of ``is_patch_network``, made with ``dynamic_img_size=True``: its images may have any side that
            its patches divide.
    """
    kind: Any = type(trunk)
    trunk.__class__ = _patch_map(kind)
    return trunk


@cache
def _patch_map(network: Any) -> Any:
    """Return the class of a vision transformer with a map in the place of its tokens."""

    class PatchMap(network):  # type: ignore[misc]  # timm ships no types
        def forward_features(
            self, x: Float[Tensor, "batch 3 h w"], **options: Any
        ) -> Float[Tensor, "batch width rows columns"]:
            """Return the tokens of the patches, without class token, folded to a map."""
            rows, columns = self.patch_embed.dynamic_feat_size(x.shape[-2:])
            tokens: Tensor = super().forward_features(x, **options)[:, self.num_prefix_tokens :]
            return tokens.transpose(1, 2).reshape(len(tokens), -1, rows, columns)

        def forward_head(self, x: Tensor, pre_logits: bool = False) -> Float[Tensor, "batch width"]:
            """Return the mean over the map, normalised as timm does."""
            features: Tensor = self.fc_norm(x.mean((2, 3)))
            return features

    return PatchMap
