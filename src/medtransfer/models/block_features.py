"""What a network sees at each depth: pooled features behind every block."""

from jaxtyping import Float
from torch import Tensor

from medtransfer.models.backbones import evaluating
from medtransfer.models.classifier import Classifier
from medtransfer.models.truncate import cuts


def block_features(
    model: Classifier, images: Float[Tensor, "batch 3 h w"]
) -> dict[str, Float[Tensor, "batch _channels"]]:
    """Return the mean over positions of every block's map, float32 ``[batch, channels]``, in running order.

    Blocks are the innermost ``truncate.cuts``: ``layer3.0`` of a ResNet, ``features.transition1`` of a DenseNet. A cut
    network has the names of the whole one, so both can be compared by them. Evaluation mode; no trace is left.
    """
    every = cuts(model.trunk, side=min(images.shape[2:]))
    names = [name for name in every if not any(other.startswith(f"{name}.") for other in every)]
    seen: dict[str, Tensor] = {}

    def note(name: str, maps: Tensor) -> None:
        seen[name] = maps.float().mean((2, 3))

    handles = [
        model.trunk.get_submodule(name).register_forward_hook(lambda _m, _i, maps, name=name: note(name, maps))
        for name in names
    ]
    try:
        with evaluating(model):
            model.feature_map(images)
    finally:
        for handle in handles:
            handle.remove()
    return seen
