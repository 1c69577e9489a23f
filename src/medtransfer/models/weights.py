"""Weights on disk: a folder with model.safetensors and config.json, and plain checkpoints of timm and torchvision."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from medtransfer import files
from medtransfer.config import Config
from medtransfer.errors import CheckpointError, ModelError, UnreachableError
from medtransfer.models.classifier import Classifier, build_network
from medtransfer.models.heads import Head, Heads, check_heads, parse_heads
from medtransfer.models.networks import AnyNetwork
from medtransfer.models.structures import Structure

WEIGHTS, DESCRIPTION = "model.safetensors", "config.json"
_FORMAT = "medtransfer-2"


class TrainInit(Config):
    """Start from random weights."""

    kind: Literal["train"] = "train"


class TimmInit(Config):
    """Start from the weights that timm's hub holds for the backbone; ``tag`` picks one of several (``a1_in1k``)."""

    kind: Literal["timm"] = "timm"
    tag: str = ""


class FileInit(Config):
    """Start from a folder of ``save_weights`` or a plain ``.safetensors`` or ``.pth`` file."""

    kind: Literal["file"] = "file"
    path: Path


InitConfig = Annotated[TrainInit | TimmInit | FileInit, Field(discriminator="kind")]


@dataclass(frozen=True)
class LoadReport:
    """What a checkpoint gave: keys that were loaded, keys that kept their start, keys of the file that were not used.

    Not used are a head that was not wanted, and a whole network's weights behind a cut or in the place of a slim top.
    """

    source: str
    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    ignored: tuple[str, ...]


def save_weights(
    model: Classifier,
    folder: Path,
    *,
    config: Structure,
    heads: Heads,
    preprocessing: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write model.safetensors and config.json; equal weights give equal bytes.

    The description is written last and holds the SHA-256 of the weights: a pair left by an interruption does not load.

    Args:
        model: the network.
        folder: where the two files go; made if absent.
        config: the configuration that the network was built from.
        heads: what the outputs mean; a tensor's columns are cut in their order.
        preprocessing: what turns a raw image into the network's input.
        extra: anything else worth keeping beside the weights, as JSON.

    Raises:
        ModelError: the heads are not those of the network.
    """
    check_heads(heads, outputs=model.head.out_features)
    from safetensors.torch import save

    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    files.write_bytes(folder / WEIGHTS, save(state))
    description = {
        "format": _FORMAT,
        "network": config.model_dump(mode="json"),
        "heads": {name: head.model_dump(mode="json") for name, head in heads.items()},
        "preprocessing": dict(preprocessing),
        "extra": dict(extra or {}),
        "sha256": files.sha256_file(folder / WEIGHTS),
    }
    files.write_sealed(folder / DESCRIPTION, description)


def load_model(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """Build the network of a folder and load its weights; return it in evaluation mode with its description.

    Its weights are laid out channels last, which on a CPU is up to 1.8 times as fast. The description is config.json
    with ``heads`` as ``Head`` by name.

    Example:
        network, description = load_model(Path("out/attentive_transfer/weights/finetune/resnet18_attn0/none/seed0"))
        probability = activate(network(images), description["heads"])["label"]

    Raises:
        CheckpointError: a file is missing, damaged or not from ``save_weights``, or of an older format.
    """
    description = _describe(folder)
    state = _own_state(folder, description)
    heads = stored_heads(folder)
    try:
        config = TypeAdapter[Structure](AnyNetwork).validate_python(description["network"])
        model = build_network(config, sum(len(head.outputs) for head in heads.values()))
        model.load_state_dict(state)
    except (KeyError, ValidationError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"{folder}: weights and {DESCRIPTION} do not belong together ({first})") from error
    model.eval().to(memory_format=torch.channels_last)
    return model, description | {"heads": heads}


def stored_heads(folder: Path) -> dict[str, Head]:
    """Return what the outputs of a folder's network mean, without reading its weights.

    Raises:
        CheckpointError: the description is missing, damaged or of an older format, or its heads are damaged.
    """
    return parse_heads(_describe(folder).get("heads"), source=folder / DESCRIPTION)


def load_into(model: Classifier, file: Path, *, head: bool | Literal["if_fits"]) -> LoadReport:
    """Load a folder of ``save_weights`` or a plain timm or torchvision checkpoint into a network.

    Only ATTN layers and the head may be missing from the file; they keep their start. With ``head=True`` the head must
    fit, ``False`` leaves it alone, ``"if_fits"`` takes it when the number of classes is the same.

    A cut network takes what it has kept from the whole network's file, a slim one its bottom with the statistics of
    batch norm (transfusion, Peng et al. 2021); the rest of the file, with a head that has learnt to read that rest, is
    not used, and reported.

    Raises:
        CheckpointError: the file is missing or damaged.
        ModelError: the file lacks other weights, has weights for which the network has no place, or shapes differ.
    """
    return _load_state(model, _read(model, file), source=str(file), head=head)


def initialise(model: Classifier, config: Structure, init: TrainInit | TimmInit | FileInit) -> LoadReport:
    """Give a new network its starting weights; a head with another number of classes keeps its random start.

    Raises:
        CheckpointError, ModelError: see ``load_into``; ModelError too when the hub cannot be reached or holds no such
            network.
    """
    if isinstance(init, FileInit):
        return load_into(model, init.path, head="if_fits")
    if isinstance(init, TimmInit):
        backbone = getattr(config, "backbone", None)
        if backbone is None:
            raise ModelError(f"network {config.title!r}: timm's hub holds no weights of it; give a file or train it")
        name = f"{backbone}.{init.tag}" if init.tag else backbone
        return _load_state(model, _plain(model, _from_hub(name)), source=f"timm:{name}", head="if_fits")
    return LoadReport(source="random", loaded=(), kept=tuple(model.state_dict()), ignored=())


def _load_state(
    model: Classifier, state: dict[str, Tensor], *, source: str, head: bool | Literal["if_fits"]
) -> LoadReport:
    own = model.state_dict()
    whole = _is_whole(model, state)
    behind = model.left_out if whole else {}
    takes_head = _wants_head(own, state, False if whole and head == "if_fits" else head)
    ignored = tuple(key for key in state if key in behind or (key.startswith("head.") and not takes_head))
    chosen = {key: value for key, value in state.items() if key not in ignored}
    expected = {key: value for key, value in own.items() if key not in behind}
    _check(expected, chosen, source=source, head=head)
    model.load_state_dict(chosen, strict=False)
    return LoadReport(source, tuple(chosen), tuple(key for key in own if key not in chosen), ignored)


def _is_whole(model: Classifier, state: dict[str, Tensor]) -> bool:
    """Whether weights are those of the whole network that a cut or slim one was made from."""
    weights = {key: shape for key, shape in model.left_out.items() if not key.endswith("num_batches_tracked")}
    return bool(weights) and all(key in state and tuple(state[key].shape) == shape for key, shape in weights.items())


def _wants_head(own: dict[str, Tensor], state: dict[str, Tensor], head: bool | Literal["if_fits"]) -> bool:
    if head == "if_fits":
        mine, theirs = ({k: v.shape for k, v in one.items() if k.startswith("head.")} for one in (own, state))
        return mine == theirs
    return head


def _check(own: dict[str, Tensor], state: dict[str, Tensor], *, source: str, head: bool | Literal["if_fits"]) -> None:
    optional = ("attention.",) if head is True else ("attention.", "head.")
    # torchvision's older files have no such counters; they only matter to batch norm without momentum
    missing = [
        k for k in own if k not in state and not k.startswith(optional) and not k.endswith("num_batches_tracked")
    ]
    unknown = [key for key in state if key not in own]
    differ = [
        f"{key} {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        for key, value in state.items()
        if key in own and value.shape != own[key].shape
    ]
    problems = {"missing": missing, "without a place in the network": unknown, "of another shape": differ}
    wrong = "; ".join(f"{len(keys)} {what}: {_few(keys)}" for what, keys in problems.items() if keys)
    if wrong:
        raise ModelError(f"{source}: the weights are of another network ({wrong}); check backbone, attention and head")


def _read(model: Classifier, file: Path) -> dict[str, Tensor]:
    """Read any accepted checkpoint and return it under this project's keys."""
    if (file / DESCRIPTION).exists():
        return _own_state(file, _describe(file))
    if not file.is_file():
        raise CheckpointError(f"{file}: no such checkpoint; expected a file or a folder with {DESCRIPTION}")
    state = _safetensors(file.read_bytes(), file) if file.suffix == ".safetensors" else _pickled(file)
    return state if any(key.startswith("trunk.") for key in state) else _plain(model, state)


def _plain(model: Classifier, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename timm's keys: its classifier is our ``head``, everything else is in the ``trunk``."""
    named: Any = getattr(model.trunk, "pretrained_cfg", None)
    if named is None:
        raise ModelError("plain checkpoints are read for timm's networks only; give a folder that a fit has written")
    classifier = str(named["classifier"]) + "."

    def rename(key: str) -> str:
        return f"head.{key.removeprefix(classifier)}" if key.startswith(classifier) else f"trunk.{key}"

    return {rename(key): value for key, value in state.items()}


def _describe(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        written = plain.get("format") if isinstance(plain, dict) else None
        if written == _FORMAT:
            return cast(dict[str, Any], files.read_sealed(path))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: missing or damaged; expected what a fit writes beside its weights") from error
    raise CheckpointError(
        f"{path}: format {written!r} is not that of this version, expected {_FORMAT!r}; run its stage again"
    )


def _own_state(folder: Path, description: dict[str, Any]) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if not path.is_file() or files.sha256_file(path) != description.get("sha256"):
        raise CheckpointError(f"{path}: missing, or its hash is not the one in {DESCRIPTION}; restore or refit it")
    return _safetensors(path.read_bytes(), path)


def _safetensors(data: bytes, path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(sorted(load(data).items()))
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged safetensors file ({error}); fetch or write it again") from error


def _pickled(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # torch.load raises several unrelated types for one cause: it cannot read the file safely
        raise CheckpointError(f"{path}: damaged, or holds more than tensors; convert it to safetensors") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: not a state dictionary; expected names and tensors")
    return state


def _from_hub(name: str) -> dict[str, Tensor]:
    import timm

    try:
        state: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # hub, network and timm errors have no common type
        raise UnreachableError(
            f"weights {name!r} could not be fetched from timm's hub ({type(error).__name__}); "
            "check the name and the network, or give a file"
        ) from error
    return state


def _few(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
