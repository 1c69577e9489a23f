"""From a task or a stored network and a loader to arrays, rows of the predictions table and validation metrics."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from medtransfer.data.loaders import Loader
from medtransfer.data.manifest import ZONES
from medtransfer.errors import ConfigError
from medtransfer.evaluation.metrics import METRICS
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.models.heads import Head, Heads, activate, require_trained
from medtransfer.training.engine import Engine
from medtransfer.training.progress import over
from medtransfer.training.task import Batch, Task, network_input, set_mode

MACRO = ("macro_auroc", "macro_auprc", "macro_f1", "top_1", "macro_mse")
BINARY = ("auroc", "auprc", "f1", "f1_negative", "accuracy", "sensitivity", "specificity", "brier", "ece", "mse")
RANKING = ("auroc", "auprc")


def predict(task: Task, loader: Loader, engine: Engine) -> dict[str, np.ndarray]:
    """Return every output of the task over the loader's rows with ``index`` and ``target``, in the order of the rows.

    The module is left in evaluation mode.
    """
    return collect(task.module, task.outputs, loader, engine)


def predict_heads(module: nn.Module, heads: Heads, loader: Loader, engine: Engine) -> dict[str, np.ndarray]:
    """Return the scores of a stored network by head, float32 ``[images, outputs]``, with ``index`` and ``target``.

    Args:
        module: the network, on the engine's device; it is left in evaluation mode.
        heads: what its outputs mean.
        loader: the images, in the order of its rows.
        engine: device and precision.

    Example:
        network, description = load_model(folder)
        scores = predict_heads(engine.place(network), description["heads"], loader, engine)["label"]

    Raises:
        ModelError: a head was never trained, or the network has other outputs.
    """
    require_trained(heads, what="prediction")
    return collect(module, lambda batch: activate(module(*network_input(batch)), heads), loader, engine)


def predicted_rows(
    module: nn.Module,
    heads: Heads,
    loader: Loader,
    engine: Engine,
    *,
    study: str,
    variant: str,
    condition: str,
    seed: int,
) -> pd.DataFrame:
    """Predict a stored network and return its rows of the predictions table, head after head, with known targets.

    Arguments as in :func:`predict_heads`; ``study``, ``variant``, ``condition`` and ``seed`` name the fit.

    Raises:
        ModelError: see :func:`predict_heads`.
    """
    scores = predict_heads(module, heads, loader, engine)
    images = loader.data.entries(scores["index"])
    tables = [
        prediction_rows(
            images,
            scores[name],
            head_targets(images, head),
            outputs=head.outputs,
            kind=head.kind,
            study=study,
            variant=variant,
            condition=condition,
            seed=seed,
        )
        for name, head in heads.items()
    ]
    return pd.concat(tables, ignore_index=True)


def head_targets(manifest: pd.DataFrame, head: Head) -> npt.NDArray[np.float64]:
    """Return what a manifest knows of a head's outputs, ``[images, outputs]``, NaN where it knows nothing.

    Exclusive classes have one-hot rows from ``label``, findings their columns ``y_<finding>``, values their columns
    ``v_<value>``, severities the zones that they are named like; under a sigmoid, from 0 to 1, a zone is 1 where its
    score is above 0 (Park et al. 2022).
    """
    if head.one_label:
        labels = manifest["label"].to_numpy(object)[:, None]
        one_hot: npt.NDArray[np.float64] = (labels == np.array(head.outputs, object)).astype(np.float64)
        one_hot[~one_hot.any(axis=1)] = np.nan
        return one_hot
    columns = [_column(output, head) for output in head.outputs]
    known: npt.NDArray[np.float64] = manifest.reindex(columns=columns).to_numpy(np.float64)
    if (head.kind, head.activation) == ("severity", "sigmoid"):
        return np.where(np.isnan(known), np.nan, known > 0)
    return known


def _column(output: str, head: Head) -> str:
    """Return the manifest's column with an output's target; a name that no column has when there is none."""
    if head.kind == "probability":
        return f"y_{output}"
    if head.kind == "value":
        return f"v_{output}"
    return output if output in ZONES else ""


@torch.inference_mode()
def collect(
    module: nn.Module, outputs: Callable[[Batch], Mapping[str, Tensor]], loader: Loader, engine: Engine
) -> dict[str, np.ndarray]:
    """Return what ``outputs`` gives of every batch, with ``index`` and ``target``, in the order of the rows."""
    set_mode(module, train=False)
    parts: dict[str, list[np.ndarray]] = {}
    with over("scoring", loader.steps, images=loader.batch_size, quiet=not engine.is_main) as bar:
        for batch in loader.epoch(0):
            moved = engine.batch(batch)
            with engine.autocast():
                values = outputs(moved)
            for name, value in {**values, "index": moved["index"], "target": moved["target"]}.items():
                parts.setdefault(name, []).append(
                    value.float().cpu().numpy() if value.is_floating_point() else value.cpu().numpy()
                )
            bar.advance()
    return {name: np.concatenate(values) for name, values in parts.items()}


def classification_metrics(
    probability: np.ndarray, target: np.ndarray, classes: Sequence[str], *, positive: str | None = None
) -> dict[str, float]:
    """Return the validation metrics of one single-label task under ``val/``.

    Args:
        probability: ``[images, classes]``.
        target: class numbers ``[images]``.
        classes: class names in the order of the columns.
        positive: the class of the binary metrics; ``None`` gives macro one-vs-rest means over the classes.

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


def multilabel_metrics(probability: np.ndarray, target: np.ndarray, findings: Sequence[str]) -> dict[str, float]:
    """Return AUROC and AUPRC of every finding and their means ``val/macro_auroc`` and ``val/macro_auprc``.

    A finding whose known rows are all positive or all negative has neither; the means are over the others.

    Args:
        probability: ``[images, findings]``.
        target: 1, 0 or NaN (not known), ``[images, findings]``.
        findings: names in the order of the columns.
    """
    values: dict[str, float] = {}
    for column, finding in enumerate(findings):
        known = ~np.isnan(target[:, column])
        truth, score = target[known, column].astype(int), probability[known, column]
        both = len(np.unique(truth)) == 2
        values |= {f"{name}_{finding}": METRICS[name](truth, score) if both else np.nan for name in RANKING}
    for name in RANKING:
        defined = [values[f"{name}_{finding}"] for finding in findings if not np.isnan(values[f"{name}_{finding}"])]
        values[f"macro_{name}"] = float(np.mean(defined)) if defined else np.nan
    return {f"val/{name}": float(value) for name, value in values.items()}
