"""Cutting a network after any block: blocks are recognised by how data flow, and everything behind the cut is removed.

Peng et al. 2021 keep a pretrained network up to a block and train all of it under a new head: truncated transfer.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor, nn

from medtransfer.errors import ModelError
from medtransfer.models.backbones import block_names, evaluating, probe_side


@dataclass(frozen=True)
class _State:
    """A tensor at one moment: work in place changes its version but not its identity."""

    tensor: Tensor
    version: int

    @classmethod
    def of(cls, value: object) -> "_State | None":
        return cls(value, value._version) if isinstance(value, Tensor) else None

    def same(self, other: "_State | None") -> bool:
        return other is not None and self.tensor is other.tensor and self.version == other.version


@dataclass
class _Call:
    """One run of a module: the one thing that it took, what it gave, and the runs of modules inside it, in order."""

    name: str
    taken: _State | None = None
    given: _State | None = None
    inner: list["_Call"] = field(default_factory=list)


def cuts(trunk: nn.Module, *, side: int | None = None) -> tuple[str, ...]:
    """Return the names of all blocks after which a trunk can be cut, in the order in which they end.

    A cut is a block or a row of blocks behind which data flow in a single chain to the last map: ``layer3.0`` and
    ``layer3`` of a ResNet, ``features.transition1`` of a DenseNet, ``blocks.3`` of an EfficientNet. Nothing inside a
    residual or dense block qualifies. A network of single layers, such as a VGG, is cut where timm says that its stages
    end.

    Args:
        trunk: the network without head.
        side: side in pixels of the empty image that is sent through it to see how data flow; ``probe_side`` of the
            trunk if not given.
    """
    return _cuts(trunk, _trace(trunk, side or probe_side(trunk))[0])


def truncate(trunk: nn.Module, cut: str) -> dict[str, tuple[int, ...]]:
    """Cut a trunk in place after the named block; return keys and shapes of the weights that are gone.

    Modules that have not run when the block ends become ``nn.Identity``: no weights, no arithmetic. The remaining keys
    are the whole network's own, so its checkpoints fit.

    Raises:
        ModelError: there is no such cut; the message lists all.
    """
    root, ended = _trace(trunk, probe_side(trunk))
    known = _cuts(trunk, root)
    if not known:
        raise ModelError(
            f"cut {cut!r} does not exist: this network has no block behind which maps (batch, channels, rows, columns) "
            "flow in a single chain to its end; take another network, or this one whole"
        )
    if cut not in known:
        raise ModelError(f"cut {cut!r} does not exist; this network can be cut after {', '.join(known)}")
    before = {key: tuple(value.shape) for key, value in trunk.state_dict().items()}
    running = [trunk.get_submodule(name) for name in ended]
    _keep(trunk, ran=set(running[: ended.index(cut) + 1]), runs=set(running))
    kept = trunk.state_dict()
    return {key: shape for key, shape in before.items() if key not in kept}


def _keep(module: nn.Module, *, ran: set[nn.Module], runs: set[nn.Module]) -> None:
    """Replace what has not ``ran`` by identities; a list that the network goes through itself keeps its length."""
    for name, child in module.named_children():
        if child in ran:
            continue
        listed = child not in runs and any(part in runs for part in child.modules())
        if listed or any(part in ran for part in child.modules()):
            _keep(child, ran=ran, runs=runs)
        else:
            module.register_module(name, nn.Identity())


def _cuts(trunk: nn.Module, root: _Call) -> tuple[str, ...]:
    blocks = set(block_names(trunk))
    stages = set() if blocks else {entry["module"] for entry in getattr(trunk, "feature_info", ())}
    names = [call.name for call in _chain(root, blocks) if _ends_a_block(trunk, call, stages)]
    return tuple(reversed(names))


def _chain(call: _Call, closed: set[str]) -> Iterator[_Call]:
    """Yield the calls inside a call behind which there is a single chain to its end, last first; not inside blocks."""
    wanted = call.given
    for inner in reversed(call.inner):
        if wanted is None or not wanted.same(inner.given):
            return
        yield inner
        if inner.name not in closed:
            yield from _chain(inner, closed)
        wanted = inner.taken


def _ends_a_block(trunk: nn.Module, call: _Call, stages: set[str]) -> bool:
    module = trunk.get_submodule(call.name)
    weighted = any(isinstance(part, nn.Conv2d | nn.Linear) for part in module.modules() if part is not module)
    return (weighted or call.name in stages) and call.given is not None and call.given.tensor.ndim == 4


def _trace(trunk: nn.Module, side: int) -> tuple[_Call, list[str]]:
    """Run a trunk once; return the tree of its modules' runs, and the names of the modules in the order they ended."""
    root = _Call("")
    running, ended = [root], list[str]()

    def begin(name: str, inputs: tuple[object, ...]) -> None:
        call = _Call(name, taken=_State.of(inputs[0]) if len(inputs) == 1 else None)
        running[-1].inner.append(call)
        running.append(call)

    def end(output: object) -> None:
        call = running.pop()
        call.given = _State.of(output)
        ended.append(call.name)

    named = [(name, module) for name, module in trunk.named_modules() if name]
    handles = [
        m.register_forward_pre_hook(
            lambda _m, inputs, options, name=name: begin(name, (*inputs, *options.values())), with_kwargs=True
        )
        for name, m in named
    ]
    handles += [m.register_forward_hook(lambda _m, _i, output: end(output)) for _, m in named]
    try:
        with evaluating(trunk):
            image = next(trunk.parameters()).new_zeros(1, 3, side, side)
            root.given = _State.of(trunk.forward_features(image))  # type: ignore[operator]
    finally:
        for handle in handles:
            handle.remove()
    return root, ended
