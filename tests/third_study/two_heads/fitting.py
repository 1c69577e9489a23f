"""The phase ``multitask``: classes from one loader and zones from another, through one network with two heads."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import nn
from torch.nn.functional import mse_loss

from medtransfer.data.manifest import ZONES
from medtransfer.data.packed import PackedDataset
from medtransfer.losses.classification import cross_entropy
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.heads import Head, split_heads
from medtransfer.studies.two_heads import study
from medtransfer.studies.two_heads.config import TwoHeadsConfig
from medtransfer.training.engine import Engine
from medtransfer.training.fitting import FitSpec, Setting
from medtransfer.training.inference import classification_metrics, head_targets, predict
from medtransfer.training.loading import evaluation_loader, open_dataset, supervised_loader
from medtransfer.training.run import Plan
from medtransfer.training.task import Batch, Losses, NetworkTask, Task


def heads(classes: Sequence[str]) -> dict[str, Head]:
    """Return the meaning of the columns of the network's output."""
    return {
        "diagnosis": Head(outputs=tuple(classes), activation="softmax", kind="probability"),
        "severity": Head(outputs=ZONES, activation="identity", kind="severity"),
    }


class TwoHeadsTask(NetworkTask):
    """Cross-entropy of the diagnosis and mean squared error of the known zones, each on the batch of its own loader."""

    def __init__(self, model: nn.Module, classes: Sequence[str], *, severity_weight: float) -> None:
        super().__init__(model, heads(classes))
        self.severity_weight = severity_weight

    def losses(self, batch: Batch) -> Losses:
        """Return ``diagnosis`` in nats, ``severity`` in squared grades and their weighted sum ``total``."""
        raw = {name: split_heads(self.module(part["image"]), self.heads())[name] for name, part in batch.items()}
        target = batch["severity"]["target"]
        known = ~target.isnan()
        parts = {
            "diagnosis": cross_entropy(raw["diagnosis"], batch["diagnosis"]["target"]),
            "severity": mse_loss(raw["severity"][known].float(), target[known]),
        }
        return parts | {"total": parts["diagnosis"] + self.severity_weight * parts["severity"]}


def plan(config: TwoHeadsConfig, phase: str, variant: str, conditions: Sequence[str], setting: Setting) -> Plan:
    """Return one fit per seed of a network."""
    del conditions  # there is one
    return Plan(fits=[_fit(config, phase, variant, seed, setting) for seed in config.seeds])


def _fit(config: TwoHeadsConfig, phase: str, network: str, seed: int, setting: Setting) -> FitSpec:
    settings, engine = config.multitask, setting.engine
    data = open_dataset(settings.dataset)
    structure, classes = NetworkConfig(backbone=network), data.meta.classes
    outputs = len(classes) + len(ZONES)

    def task() -> TwoHeadsTask:
        model = build_network(structure, classes=outputs, seed=seed)
        return TwoHeadsTask(model, classes, severity_weight=settings.severity_weight)

    return FitSpec(
        **vars(study.fitted(network, seed)),
        paper=study.PAPER,
        phase=phase,
        title=network,
        tags={"network": network},
        settings=settings,
        train=settings.train,
        crop=settings.augment.crop,
        data={settings.dataset: data},
        loaders={
            "diagnosis": supervised_loader(data, settings, seed, engine),
            "severity": supervised_loader(data, settings, seed, engine, outputs=ZONES),
        },
        network=structure,
        task=task,
        validate=_validation(data, settings.augment.crop, engine),
    )


def _validation(data: PackedDataset, crop: int, engine: Engine) -> Callable[[Task], dict[str, float]]:
    loader = evaluation_loader(data, "val", crop, engine)

    def validate(task: Task) -> dict[str, float]:
        scores = predict(task, loader, engine)
        zones = head_targets(data.manifest.iloc[scores["index"]], task.heads()["severity"])
        metrics = classification_metrics(scores["diagnosis"], scores["target"], data.meta.classes)
        return metrics | {"val/mae_severity": float(np.nanmean(np.abs(scores["severity"] - zones)))}

    return validate
