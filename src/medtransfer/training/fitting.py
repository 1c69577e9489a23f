"""Jobs from parts: a packed data set, a network, a phase's settings. Every study's fits are built here."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from medtransfer import paths
from medtransfer.config import fingerprint
from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.data.transforms import AugmentConfig
from medtransfer.errors import CheckpointError, DataError
from medtransfer.files import read_json
from medtransfer.models.classifier import Classifier, NetworkConfig, attention_report
from medtransfer.models.weights import save_weights
from medtransfer.ssl import health
from medtransfer.tracking.lineage import collect_lineage
from medtransfer.tracking.tracker import DatasetInput, RunSpec
from medtransfer.training.engine import Engine
from medtransfer.training.inference import classification_metrics, predict
from medtransfer.training.loop import FitResult
from medtransfer.training.optim import TrainConfig
from medtransfer.training.run import Job
from medtransfer.training.task import Task

EVALUATION_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all fits of one command share."""

    engine: Engine
    profile: str
    pointers: tuple[Path, ...]
    """DVC pointer files of the raw data, for the lineage tags."""


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
        parts = [self.phase, self.network, self.chain_title, self.method, f"seed {self.seed}"]
        return " · ".join(part for part in parts if part)


class Phase(Protocol):
    """What the settings of every phase have."""

    dataset: str
    augment: AugmentConfig
    train: TrainConfig


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
    network: NetworkConfig,
    inner: Callable[[Task], Classifier],
    positive: str = "",
) -> Job:
    """Put one fit together: how it is tracked, what identifies it, and how its weights are stored."""
    identity = {
        "variant": vars(variant),
        "phase": phase.model_dump(mode="json"),
        "network": network.model_dump(mode="json"),
        "data": data.meta.content_hash,
        "parent": parent.sha256 if parent else "",
        "precision": setting.engine.precision,
        "world": setting.engine.world,
    }

    def save(done: Task, folder: Path, result: FitResult) -> None:
        extra = {
            "variant": vars(variant),
            "dataset": data.meta.name,
            "positive": positive,
            "parent": identity["parent"],
            # JSON knows no NaN; an undefined metric is null.
            "metrics": {name: value if math.isfinite(value) else None for name, value in result.metrics.items()},
            "best_step": result.best_step,
        }
        save_weights(
            inner(done),
            folder,
            config=network,
            classes=data.meta.classes,
            preprocessing=preprocessing(data, phase.augment.crop),
            extra=extra,
        )

    return Job(
        spec=_run_spec(variant, setting, identity, data, parent),
        identity=identity,
        seed=variant.seed,
        config=phase.train,
        task=task,
        loaders=loader,
        validate=validate,
        save=save,
    )


def supervised_loader(data: PackedDataset, phase: Phase, seed: int, engine: Engine) -> Loader:
    """Return the training loader of a phase with labels; only rows of the training split reach it."""
    return _training_loader(data, data.rows(split="train", labelled=True), phase, seed, engine)


def self_supervised_loader(
    data: PackedDataset, phase: Any, seed: int, engine: Engine, *, boxes: Callable[[np.ndarray], Any]
) -> Loader:
    """Return the loader of a self-supervised phase: two views of every training image, and its lobe regions.

    Only the training split is read, labelled or not: validation and test images never enter pretraining.
    """
    rows = data.rows(split="train", labelled=False)
    located = np.zeros((len(data.images), 5, 4), dtype=np.float32)
    located[rows] = boxes(_grey(data.images[rows])).boxes
    return _training_loader(
        data,
        rows,
        phase,
        seed,
        engine,
        views=2,
        boxes=located,
        region_size=phase.region_size,
        region_augment=phase.region_augment,
    )


def evaluation_loader(
    data: PackedDataset, split: str, crop: int, engine: Engine, *, trained_on: PackedDataset | None = None
) -> Loader:
    """Return a loader over the labelled rows of one split in the evaluation view: centre crop, no randomness.

    Pictures of a data set that the network was not trained on are normalised like those that it was ``trained_on``.
    """
    rows = data.rows(split=split, labelled=True)
    if len(rows) == 0:
        raise DataError(f"{data.meta.name}: the {split} split has no labelled image; check its split settings")
    known = (trained_on or data).meta
    return Loader(
        data,
        rows,
        batch_size=EVALUATION_BATCH,
        crop=crop,
        seed=0,
        train=False,
        normalization=(known.mean, known.std),
        device=engine.device,
    )


def supervised_validation(
    data: PackedDataset, crop: int, engine: Engine, *, positive: str | None
) -> Callable[[Task], dict[str, float]]:
    """Return a function that scores a task on the validation split and looks into its ATTN layers."""
    loader = evaluation_loader(data, "val", crop, engine)

    def validate(task: Task) -> dict[str, float]:
        found = predict(task, loader, engine)
        metrics = classification_metrics(found["probability"], found["target"], data.meta.classes, positive=positive)
        return metrics | attention_metrics(task.module, loader, engine)

    return validate


def probe_validation(
    data: PackedDataset, crop: int, engine: Engine, *, positive: str, neighbours: int
) -> Callable[[Task], dict[str, float]]:
    """Return a function that watches an encoder: a kNN probe on validation labels and signs of collapse."""
    loaders = {split: evaluation_loader(data, split, crop, engine) for split in ("train", "val")}

    def validate(task: Task) -> dict[str, float]:
        found = {split: predict(task, loader, engine) for split, loader in loaders.items()}
        features = {split: torch.from_numpy(parts["features"]) for split, parts in found.items()}
        labels = torch.from_numpy(found["train"]["target"])
        classes = data.meta.classes
        probability = health.knn_probe(
            features["train"], labels, features["val"], classes=len(classes), neighbours=min(neighbours, len(labels))
        )
        spread = health.feature_spread(features["val"])
        metrics = classification_metrics(probability.numpy(), found["val"]["target"], classes, positive=positive)
        metrics |= {
            "health/spread": spread,
            "health/uniformity": health.uniformity(features["val"]),
            "health/collapsed": float(health.collapsed(spread)),
        }
        return metrics | attention_metrics(task.module.encoder, loaders["val"], engine)

    return validate


def attention_metrics(model: Any, loader: Loader, engine: Engine) -> dict[str, float]:
    """Return |gamma| and entropy of every ATTN layer on the first batch, as ``attention/<measure>_<site>``."""
    if not isinstance(model, Classifier):
        return {}
    images = engine.batch(loader.batch(0, 0))["image"]
    with torch.inference_mode(), engine.autocast():
        report = attention_report(model, images)
    return {
        f"attention/{measure}_{site}": value for site, values in report.items() for measure, value in values.items()
    }


def preprocessing(data: PackedDataset, crop: int) -> dict[str, Any]:
    """Return how pictures must be prepared for a network trained on this data set; stored beside its weights."""
    pack = data.meta.pack.model_dump(mode="json")
    return pack | {"crop": crop, "mean": list(data.meta.mean), "std": list(data.meta.std)}


def _grey(images: np.ndarray) -> np.ndarray:
    """Return pictures ``[N, C, H, W]`` of any depth as uint8 ``[N, H, W]``."""
    mean = images.mean(1, dtype=np.float64) / (257 if images.dtype == np.uint16 else 1)
    grey: np.ndarray = np.rint(mean).astype(np.uint8)
    return grey


def _training_loader(
    data: PackedDataset, rows: np.ndarray, phase: Phase, seed: int, engine: Engine, **views: Any
) -> Loader:
    return Loader(
        data,
        rows,
        batch_size=phase.train.batch_size,
        augment=phase.augment,
        seed=seed,
        train=True,
        device=engine.device,
        rank=engine.rank,
        world=engine.world,
        **views,
    )


def _run_spec(
    variant: Variant, setting: Setting, identity: Mapping[str, Any], data: PackedDataset, parent: Parent | None
) -> RunSpec:
    lineage = collect_lineage(setting.pointers, root=paths.workspace())
    tags = {k: str(v) for k, v in vars(variant).items()} | {
        "dataset": data.meta.name,
        "data_md5": ",".join(lineage["data"].values()),
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
        params={k: identity[k] for k in ("phase", "network", "precision", "world")}
        | {"environment": lineage["versions"]},
        datasets=(DatasetInput(name=data.meta.name, digest=data.meta.content_hash[:36], split="train"),),
        parents=(parent.run_key,) if parent and parent.run_key else (),
    )
