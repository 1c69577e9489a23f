"""Learning numbers: values in units of their own, such as a reader's score or an age."""

import copy
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from medtransfer.data.loaders import Loader
from medtransfer.errors import ModelError
from medtransfer.evaluation.cells import VALUES
from medtransfer.evaluation.checks import attempt
from medtransfer.evaluation.metrics import METRICS
from medtransfer.losses.precision import at_least_single
from medtransfer.models.classifier import Classifier
from medtransfer.models.heads import Head
from medtransfer.training.engine import Engine
from medtransfer.training.inference import predict
from medtransfer.training.task import Batch, Losses, NetworkTask, Task

HEAD = "values"


class ValueTask(NetworkTask):
    """Mean squared error of standardised values; NaN is not known. Its head ``values`` gives the target's own units.

    The network learns ``(target − mean) ÷ scale``, so that one learning rate suits every unit; the exported network has
    both folded into its linear head.

    Args:
        model: a network with a linear head.
        names: of the values, in the order of the outputs.
        mean: of the training targets ``[values]``.
        scale: their standard deviation ``[values]``, above 0.

    Raises:
        ModelError: the network has another kind of head.
    """

    def __init__(self, model: Classifier, names: Sequence[str], *, mean: Tensor, scale: Tensor) -> None:
        if not isinstance(model.head, nn.Linear):
            raise ModelError("values: the network has no linear head, expected one; take another network")
        super().__init__(model, {HEAD: Head(outputs=tuple(names), activation="identity", kind="value")})
        self.mean, self.scale = mean.float(), scale.float()

    def losses(self, batch: Batch) -> Losses:
        """Return ``total``, the mean squared standardised error over what is known of ``target``."""
        raw = at_least_single(self.module(batch["image"]))
        target = (batch["target"].to(raw) - self.mean.to(raw)) / self.scale.to(raw)
        known = ~target.isnan()
        errors = torch.where(known, raw - torch.where(known, target, 0.0), 0.0)
        return {"total": errors.square().sum() / known.sum().clamp(min=1)}

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the values in their own units, float32 ``[batch, values]``."""
        raw = self.module(batch["image"]).float()
        return {HEAD: raw * self.scale.to(raw) + self.mean.to(raw)}

    def exported(self) -> nn.Module:
        """Return a copy of the network whose head gives the target's own units."""
        model = copy.deepcopy(cast(Classifier, self.module))
        head = cast(nn.Linear, model.head)
        with torch.no_grad():
            head.weight.mul_(self.scale.to(head.weight)[:, None])
            head.bias.mul_(self.scale.to(head.bias)).add_(self.mean.to(head.bias))
        return model


def value_validation(loader: Loader, engine: Engine) -> Callable[[Task], dict[str, float]]:
    """Return a function that scores a task on validation rows: ``val/r2``, ``val/mae``, …, means over the values."""

    def validate(task: Task) -> dict[str, float]:
        predicted = predict(task, loader, engine)
        scores, targets = predicted[HEAD], predicted["target"]
        metrics = {}
        for name in VALUES:
            parts = []
            for score, target in zip(scores.T, targets.T, strict=True):
                known = ~np.isnan(target)
                parts.append(attempt(METRICS[name], target[known], score[known])[0])
            metrics[f"val/{name}"] = float(np.mean(parts))
        return metrics

    return validate
