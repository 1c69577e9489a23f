"""What a network's outputs mean: named heads, each with its outputs, its activation and the kind of its scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import TypeAdapter, ValidationError, model_validator
from torch import Tensor

from medtransfer.config import Config
from medtransfer.errors import CheckpointError, ModelError

Activation = Literal["softmax", "sigmoid", "identity"]
Kind = Literal["probability", "severity", "value"]
RawOutput = Tensor | Mapping[str, Tensor]
"""What a network returns: ``[batch, outputs of all heads]``, or ``[batch, outputs]`` by name of the head."""

_KINDS: dict[Activation, tuple[Kind, ...]] = {
    "softmax": ("probability",),
    "sigmoid": ("probability", "severity"),
    "identity": ("severity", "value"),
}
_RESERVED = ("index", "target", "features")
"""Predictions hold these beside the heads' scores."""


class Head(Config):
    """A group of outputs that are read together.

    Attributes:
        outputs: names in the order of the columns.
        activation: ``softmax`` for exclusive classes, ``sigmoid`` for outputs that do not exclude each other,
            ``identity`` for numbers that are no probabilities.
        kind: what the scores are: ``probability`` (0 to 1), ``severity`` or ``value`` (in the units of the target).
        exclusive: the outputs are classes of which an image has one, although each has a sigmoid of its own (Park et
            al. 2022); the likeliest is the label. Classes under a softmax always are.
        trained: whether a fit has trained these outputs; an untrained head is stored but neither predicted with,
            registered nor served.

    Raises:
        ModelError: the outputs have no or equal names, or are too few; the kind is not one that the activation gives.
    """

    outputs: tuple[str, ...]
    activation: Activation
    kind: Kind
    trained: bool = True
    exclusive: bool = False

    @property
    def one_label(self) -> bool:
        """Whether an image has one of the outputs as its label."""
        return self.exclusive or self.activation == "softmax"

    @model_validator(mode="after")
    def _require_meaning(self) -> "Head":
        names = ", ".join(self.outputs)
        least = 2 if self.one_label else 1
        if len(self.outputs) < least:
            raise ModelError(
                f"head with the outputs [{names}]: {self.activation} needs at least {least}; name what it predicts"
            )
        if "" in self.outputs or len(set(self.outputs)) < len(self.outputs):
            raise ModelError(f"head with the outputs [{names}]: a name is empty or occurs twice, expected unique names")
        if self.exclusive and self.kind != "probability":
            raise ModelError(f"head with the outputs [{names}]: exclusive classes have a probability, not {self.kind}")
        if self.kind not in _KINDS[self.activation]:
            expected = " or ".join(_KINDS[self.activation])
            raise ModelError(f"head with the outputs [{names}]: {self.activation} gives no {self.kind}, but {expected}")
        return self


Heads = Mapping[str, Head]


def check_heads(heads: Heads, *, outputs: int) -> None:
    """Refuse heads that do not describe a network with this number of outputs.

    Raises:
        ModelError: their names are not usable, outputs of two heads have one name, or the number differs.
    """
    wrong = [name for name in heads if not name or name in _RESERVED]
    if wrong or not heads:
        raise ModelError(f"heads {list(heads)}: expected at least one, none called {', '.join(_RESERVED)}")
    names = [name for head in heads.values() for name in head.outputs]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ModelError(
            f"heads {list(heads)}: output {twice[0]!r} is in two of them; give every output a name of its own"
        )
    if len(names) != outputs:
        raise ModelError(f"heads {list(heads)} name {len(names)} outputs, the network has {outputs}; name each once")


def parse_heads(stored: Any, *, source: Path) -> dict[str, Head]:
    """Return the heads that a file holds as JSON.

    Raises:
        CheckpointError: they are absent or damaged; names the file.
    """
    try:
        heads = TypeAdapter(dict[str, Head]).validate_python(stored)
        check_heads(heads, outputs=sum(len(head.outputs) for head in heads.values()))
    except (ModelError, ValidationError) as error:
        first = " ".join(str(error).splitlines()[:3])
        raise CheckpointError(f"{source}: damaged heads ({first}); run the stage that writes it again") from error
    return heads


def require_trained(heads: Heads, *, what: str) -> None:
    """Refuse a network with a head that no fit has trained: its scores would look plausible and mean nothing.

    Raises:
        ModelError: names the first such head.
    """
    for name, head in heads.items():
        if not head.trained:
            raise ModelError(
                f"{what}: head {name!r} was never trained and predicts nothing; fine-tune the network first"
            )


def split_heads(output: RawOutput, heads: Heads) -> dict[str, Float[Tensor, "batch outputs"]]:
    """Return the raw outputs of each head; columns of one tensor are cut in the order of the heads.

    Raises:
        ModelError: the output does not have a column for each output of the heads.
    """
    sizes = {name: len(head.outputs) for name, head in heads.items()}
    if isinstance(output, Tensor):
        if output.ndim != 2 or output.shape[1] != sum(sizes.values()):
            raise ModelError(f"network output of shape {list(output.shape)}, expected [batch, {sum(sizes.values())}]")
        return dict(zip(sizes, torch.split(output, list(sizes.values()), dim=1), strict=True))
    shapes = {name: list(value.shape) for name, value in output.items()}
    if any(shapes.get(name, [])[1:] != [size] for name, size in sizes.items()):
        raise ModelError(f"network outputs of shapes {shapes}, expected [batch, outputs] with the outputs {sizes}")
    return {name: output[name] for name in sizes}


def joined(output: RawOutput) -> Float[Tensor, "batch outputs"]:
    """Return raw outputs as one tensor, the heads side by side in the network's order."""
    return output if isinstance(output, Tensor) else torch.cat(list(output.values()), dim=1)


def activate(output: RawOutput, heads: Heads) -> dict[str, Float[Tensor, "batch outputs"]]:
    """Return the scores of each head in float32, under autocast too.

    Raises:
        ModelError: see ``split_heads``.
    """
    return {name: _scores(raw.float(), heads[name].activation) for name, raw in split_heads(output, heads).items()}


def _scores(raw: Tensor, activation: Activation) -> Tensor:
    if activation == "softmax":
        return torch.softmax(raw, dim=1)
    return torch.sigmoid(raw) if activation == "sigmoid" else raw
