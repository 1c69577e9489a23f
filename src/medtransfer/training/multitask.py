"""The task of the multi-task ViT: diagnosis and severity from loaders of their own, shared layers in one pass."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medtransfer.data.loaders import Loader
from medtransfer.data.manifest import ZONES
from medtransfer.errors import ConfigError
from medtransfer.evaluation.checks import attempt
from medtransfer.evaluation.metrics import METRICS
from medtransfer.evaluation.severity import severity_score
from medtransfer.losses.classification import masked_bce
from medtransfer.models.classifier import Classifier
from medtransfer.models.heads import Head
from medtransfer.models.multitask import LABEL, SEVERITY, MultitaskHead
from medtransfer.models.zones import EMPTY
from medtransfer.training.engine import Engine
from medtransfer.training.inference import classification_metrics, predict
from medtransfer.training.optim import ConstantSchedule, Group, ScheduleConfig, TrainConfig
from medtransfer.training.task import Batch, Losses, NetworkTask, Task

UNKNOWN = -1
"""Class number of an image without a label."""


def multitask_heads(classes: Sequence[str], tasks: Sequence[str]) -> dict[str, Head]:
    """Return what the outputs of the network mean: one sigmoid per class, and per zone the presence of a lesion."""
    heads = {
        LABEL: Head(outputs=tuple(classes), activation="sigmoid", kind="probability", exclusive=True),
        SEVERITY: Head(outputs=ZONES, activation="sigmoid", kind="severity"),
    }
    return {name: heads[name] for name in heads if name in tasks}


class MultitaskTask(NetworkTask):
    """Binary cross-entropy of every class and of every zone, weighted 1 to ``severity_weight`` (Park et al. 2022).

    A batch has a part per loader, named like the head that learns from it. All images pass the shared layers together.
    A zone is affected where its score is above 0; zones that are not known, or have no lung, add nothing.

    Args:
        model: a network of ``MultitaskConfig``.
        classes: in the order of the outputs.
        severity_weight: of the loss of the zones beside that of the classes.
        severity_lr: learning rate of the map head; that of the shared layers when not given.
        severity_schedule: its schedule.
    """

    def __init__(
        self,
        model: Classifier,
        classes: Sequence[str],
        *,
        severity_weight: float = 5.0,
        severity_lr: float | None = None,
        severity_schedule: ScheduleConfig = ConstantSchedule(),
    ) -> None:
        if not isinstance(model.head, MultitaskHead):
            raise ConfigError("multi-task training: the network has no multi-task head; build a MultitaskConfig")
        self.head, self.severity_weight = model.head, severity_weight
        self.severity_lr, self.severity_schedule = severity_lr, severity_schedule
        tasks = [name for name, part in ((LABEL, model.head.label), (SEVERITY, model.head.severity)) if part]
        super().__init__(model, multitask_heads(classes, tasks))

    def losses(self, batch: Batch) -> Losses:
        """Return ``label`` and ``zones`` in nats, the mean over known outputs of each, and their sum ``total``."""
        model = cast(Classifier, self.module)
        parts = [batch[name] for name in self.heads()]
        maps = model.dropout(model.feature_map(torch.cat([part["image"] for part in parts])))
        encoded, start, losses = self.head.encode(maps), 0, {}
        for name, part in zip(self.heads(), parts, strict=True):
            rows = encoded.rows(slice(start, start + len(part["image"])))
            start += len(part["image"])
            if name == LABEL:
                losses[name] = masked_bce(logits := self.head.diagnose(rows), _one_hot(part["target"], logits.shape[1]))
            else:
                losses[name] = _zone_loss(self.head.grade(rows, part.get("lungs")), part["target"])
        weights = {LABEL: 1.0, SEVERITY: self.severity_weight if len(losses) > 1 else 1.0}
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        return losses | {"total": total}

    def groups(self, config: TrainConfig) -> list[Group]:
        """Return the shared layers with the class head, and the map head apart."""
        graded = set(self.head.severity.parameters()) if self.head.severity else set()
        shared = [p for p in self.module.parameters() if p.requires_grad and p not in graded]
        groups = [Group(name="shared", parameters=shared, lr=config.learning_rate, schedule=config.schedule)]
        if graded:
            rate = self.severity_lr or config.learning_rate
            mapped = [p for p in self.module.parameters() if p.requires_grad and p in graded]
            groups.append(Group(name="severity", parameters=mapped, lr=rate, schedule=self.severity_schedule))
        return groups


def multitask_validation(
    loaders: Mapping[str, Loader], classes: Sequence[str], engine: Engine
) -> Callable[[Task], dict[str, float]]:
    """Return a function that scores a task on validation rows.

    Its metrics are those of exclusive classes, and ``val/mse_score``, ``val/pearson_score`` of the severity score 0–6.

    Args:
        loaders: by head, in the evaluation view; that of the zones delivers lung masks.
        classes: in the order of the outputs.
        engine: device and precision.
    """

    def validate(task: Task) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for name in task.heads():
            scores = predict(task, loaders[name], engine)
            if name == LABEL:
                metrics |= classification_metrics(scores[LABEL], scores["target"], classes)
            else:
                metrics |= _score_metrics(scores[SEVERITY], scores["target"])
        return metrics

    return validate


def _score_metrics(zones: np.ndarray, target: np.ndarray) -> dict[str, float]:
    known = ~np.isnan(target).any(axis=1)
    truth, score = severity_score(target[known] > 0), severity_score(zones[known])
    return {f"val/{name}_score": attempt(METRICS[name], truth, score)[0] for name in ("mse", "pearson")}


def _one_hot(target: Tensor, classes: int) -> Tensor:
    """Return ``[batch, classes]``, NaN for an image without a label."""
    one_hot = F.one_hot(target.clamp(min=0), classes).float()
    return one_hot.masked_fill((target == UNKNOWN)[:, None], torch.nan)


def _zone_loss(logits: Tensor, target: Tensor) -> Tensor:
    known = ~target.isnan() & (logits.detach() > EMPTY)
    return masked_bce(logits, torch.where(known, (target > 0).float(), torch.nan))
