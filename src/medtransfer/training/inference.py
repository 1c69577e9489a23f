"""From a task and a loader to arrays, and from arrays to validation metrics."""

from collections.abc import Sequence

import numpy as np
import torch

from medtransfer.data.loaders import Loader
from medtransfer.errors import ConfigError
from medtransfer.evaluation.metrics import METRICS
from medtransfer.training.engine import Engine
from medtransfer.training.task import Task, set_mode

MACRO = ("macro_auroc", "macro_auprc", "macro_f1", "top_1", "macro_mse")
BINARY = ("auroc", "auprc", "f1", "f1_negative", "accuracy", "sensitivity", "specificity", "brier", "ece", "mse")


@torch.inference_mode()
def predict(task: Task, loader: Loader, engine: Engine) -> dict[str, np.ndarray]:
    """Return every output of the task over the loader's rows with ``index`` and ``target``, in the order of the rows.

    The module is left in evaluation mode.
    """
    set_mode(task.module, train=False)
    parts: dict[str, list[np.ndarray]] = {}
    for batch in loader.epoch(0):
        moved = engine.batch(batch)
        with engine.autocast():
            outputs = task.outputs(moved)
        for name, value in {**outputs, "index": moved["index"], "target": moved["target"]}.items():
            parts.setdefault(name, []).append(
                value.float().cpu().numpy() if value.is_floating_point() else value.cpu().numpy()
            )
    return {name: np.concatenate(values) for name, values in parts.items()}


def classification_metrics(
    probability: np.ndarray, target: np.ndarray, classes: Sequence[str], *, positive: str | None = None
) -> dict[str, float]:
    """Return the validation metrics of one single-label task under ``val/``.

    Args:
        probability: ``[images, classes]``.
        target: class numbers ``[images]``.
        classes: class names in the order of the columns.
        positive: the class that the binary metrics speak of; ``None`` gives macro one-vs-rest means over the classes.

    Raises:
        ConfigError: ``positive`` is none of the classes.
    """
    if positive is None:
        values = {name: METRICS[name](target, probability) for name in MACRO}
    elif positive in classes:
        number = list(classes).index(positive)
        truth, score = (target == number).astype(int), probability[:, number]
        values = {f"{name}_{positive}": METRICS[name](truth, score) for name in BINARY}
    else:
        raise ConfigError(f"positive class {positive!r} does not exist; the classes are {', '.join(classes)}")
    return {f"val/{name}": float(value) for name, value in values.items()}
