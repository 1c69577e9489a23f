"""Resume files: written beside the target, flushed, hashed; a kill at any moment leaves one that loads.

A state is a set of named tensors plus named scalars. ``state.json`` is the commit point: it names the tensor file, its
SHA-256 and the generation before it, which is used, with a message, when the newest is damaged.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from medtransfer.errors import CheckpointError
from medtransfer.files import read_sealed, sha256_file, write_atomic, write_sealed

COMMIT = "state.json"


def save_state(folder: Path, step: int, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
    """Write one generation of resume state and drop the generation before the previous one.

    Raises:
        CheckpointError: the disk refuses it; the generations before stay as they were.
    """
    file = folder / f"state-{step}.safetensors"
    # Cloned: the format refuses tensors that share memory, such as tied weights.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        write_atomic(file, lambda staged: save_file(plain, staged))
        newest = {"file": file.name, "sha256": sha256_file(file), "step": step, "scalars": dict(scalars)}
        previous = _previous(folder, file.name)
        # an undefined validation metric is NaN
        write_sealed(folder / COMMIT, {"newest": newest, "previous": previous}, nan=True)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{file}: cannot be written ({error}); free disk space and run the same command again, "
            "it goes on from the resume file before this one"
        ) from error
    kept = {file.name, previous["file"] if previous else ""}
    for other in folder.glob("state-*.safetensors"):
        if other.name not in kept:
            other.unlink()


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], list[str]] | None:
    """Return tensors, scalars and remarks of the newest generation that is whole, or ``None`` when there is none.

    Raises:
        CheckpointError: resume files exist but none of them is whole.
    """
    if not (folder / COMMIT).exists():
        return None
    generations = _generations(folder)
    remarks: list[str] = []
    for entry in (generations["newest"], generations["previous"]):
        if entry is None:
            continue
        file = folder / entry["file"]
        if file.exists() and sha256_file(file) == entry["sha256"]:
            return load_file(file), entry["scalars"], remarks
        remarks.append(f"{file} is damaged or missing; falling back to the generation before it")
    raise CheckpointError(f"{folder}: no resume file is whole; delete the folder to start this fit from the beginning")


def _generations(folder: Path) -> Any:
    try:
        return read_sealed(folder / COMMIT)
    except ValueError as error:
        raise CheckpointError(
            f"{folder / COMMIT}: damaged, expected JSON; delete the folder to start this fit from the beginning"
        ) from error


def _previous(folder: Path, file: str) -> Any:
    """Return the newest generation before ``file``; a step that is done again replaces itself."""
    if not (folder / COMMIT).exists():
        return None
    generations = _generations(folder)
    return generations["previous"] if generations["newest"]["file"] == file else generations["newest"]


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as named tensors, ``optimizer.<parameter number>.<name>``."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": value if isinstance(value, Tensor) else torch.tensor(float(value))
        for index, entry in state.items()
        for name, value in entry.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put named tensors back where torch keeps them, in the memory format of the parameter they belong to.

    A step count is on the CPU, unless the update is fused or captured: then it is beside its parameter.
    """
    places = [
        (p, bool(group.get("fused") or group.get("capturable")))
        for group in optimizer.param_groups
        for p in group["params"]
    ]
    for name, value in tensors.items():
        if not name.startswith("optimizer."):
            continue
        _, index, key = name.split(".", 2)
        parameter, beside = places[int(index)]
        if key != "step" and value.shape == parameter.shape:
            like = torch.empty_like(parameter, dtype=value.dtype)
        else:
            like = torch.empty_like(value, device=parameter.device if beside else "cpu")
        optimizer.state[parameter][key] = like.copy_(value)


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with ``prefix.`` before every name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under ``prefix.`` with the prefix taken off."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the module's state on the CPU, so that further training cannot change it."""
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
