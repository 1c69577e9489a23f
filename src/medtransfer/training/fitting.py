"""Jobs from parts: a packed data set, a network, a phase's settings. Every study's fits are built here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from medtransfer import paths
from medtransfer.config import fingerprint
from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.errors import CheckpointError
from medtransfer.files import read_json
from medtransfer.models.classifier import Classifier
from medtransfer.models.structures import Structure
from medtransfer.models.weights import save_weights
from medtransfer.tracking.lineage import collect_lineage
from medtransfer.tracking.tracker import DatasetInput, RunSpec
from medtransfer.training.engine import Engine
from medtransfer.training.loop import FitResult
from medtransfer.training.run import Job, finite
from medtransfer.training.task import Task


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all fits of one command share."""

    engine: Engine
    profile: str
    pointers: Mapping[str, Path]
    """DVC pointer file of every data set's raw files, for the lineage."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The name of one fit, spelt out for tags, run names and tables."""

    study: str
    phase: str
    network: str
    attention: str
    chain: str
    chain_title: str
    seed: int
    paper: str
    method: str = ""

    @property
    def run_name(self) -> str:
        """A name that reads in a list without opening the run."""
        method = "" if self.chain_title.endswith(self.method) else self.method
        parts = [self.phase, self.network, self.chain_title, method, f"seed {self.seed}"]
        return " · ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The fit whose weights a fit starts from; ``folder`` holds model.safetensors."""

    folder: Path
    sha256: str
    run_key: str | None

    @classmethod
    def read(cls, weights: Path) -> "Parent":
        """Read a weights folder and, when its records are there, the key of the run that made it."""
        if not (weights / "config.json").exists():
            raise CheckpointError(f"{weights}: no weights here; run the stage that makes them first (dvc repro)")
        record = weights.parent.parent / "records" / weights.name / "run.json"
        key = read_json(record)["run_key"] if record.exists() else None
        return cls(folder=weights, sha256=read_json(weights / "config.json")["sha256"], run_key=key)


def make_job(
    variant: Variant,
    phase: Any,
    setting: Setting,
    *,
    parent: Parent | None,
    data: PackedDataset,
    task: Callable[[], Task],
    loader: Loader,
    validate: Callable[[Task], dict[str, float]] | None,
    network: Structure,
    positive: str = "",
    part: str = "",
    counts: Mapping[str, int] = {},
) -> Job:
    """Put one fit together: how it is tracked, what identifies it, and how its weights are stored.

    ``part`` and ``counts`` are the job's.
    """
    identity = _identity(variant, phase, setting, data=data, network=network, parent=parent)
    origin = {"variant": vars(variant), "dataset": data.meta.name, "positive": positive, "parent": identity["parent"]}
    stored: dict[str, Any] = {"config": network, "preprocessing": preprocessing(data, phase.augment.crop)}

    def save(done: Task, folder: Path, result: FitResult) -> None:
        model = cast(Classifier, done.exported())
        save_weights(model, folder, heads=done.heads(), **stored, extra=origin | _outcome(result))

    return Job(
        spec=_run_spec(variant, setting, identity, data, parent),
        identity=identity,
        seed=variant.seed,
        config=phase.train,
        task=task,
        loaders=loader,
        validate=validate,
        save=save,
        part=part,
        counts=counts,
    )


def _identity(
    variant: Variant,
    phase: Any,
    setting: Setting,
    *,
    data: PackedDataset,
    network: Structure,
    parent: Parent | None,
) -> dict[str, Any]:
    """Return everything but the code that decides a fit's weights."""
    return {
        "variant": vars(variant),
        "phase": phase.model_dump(mode="json"),
        "network": network.model_dump(mode="json"),
        "data": data.meta.content_hash,
        "parent": parent.sha256 if parent else "",
        "precision": setting.engine.precision,
        "world": setting.engine.world,
    }


def _outcome(result: FitResult) -> dict[str, Any]:
    """Return what a fit reached, fit for JSON."""
    return {"metrics": finite(result.metrics), "best_step": result.best_step}


def preprocessing(data: PackedDataset, crop: int) -> dict[str, Any]:
    """Return how pictures must be prepared for a network trained on this data set; stored beside its weights."""
    pack = data.meta.pack.model_dump(mode="json")
    return pack | {"crop": crop, "mean": list(data.meta.mean), "std": list(data.meta.std)}


def _run_spec(
    variant: Variant, setting: Setting, identity: Mapping[str, Any], data: PackedDataset, parent: Parent | None
) -> RunSpec:
    lineage = collect_lineage((setting.pointers[data.meta.name],), root=paths.workspace())
    md5 = ",".join(lineage["data"].values())
    tags = {k: str(v) for k, v in vars(variant).items()} | {
        "dataset": data.meta.name,
        "data_md5": md5,
        "git_commit": str(lineage["git_commit"]),
        "git_dirty": str(lineage["git_dirty"]),
        "params_fingerprint": fingerprint(identity),
        "parent_run": (parent.run_key or "") if parent else "",
        "profile": setting.profile,
    }
    return RunSpec(
        experiment=variant.study,
        name=variant.run_name,
        tags=tags,
        params={k: identity[k] for k in ("phase", "network", "precision", "world")},
        datasets=(DatasetInput(name=data.meta.name, digest=md5[:36], path=",".join(lineage["data"]), split="train"),),
        parents=(parent.run_key,) if parent and parent.run_key else (),
    )
