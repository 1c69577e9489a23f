"""Screening: one feature pass of every candidate as it starts, kept on disk; scores of these features in seconds.

Only training and validation images are read, so that the test images decide nothing about who is fine-tuned.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.audit.probes import FOLDS, STRENGTH, held_out
from medtransfer.comparing.candidates import Candidate, start_hash, weights_of
from medtransfer.comparing.fits import view
from medtransfer.comparing.question import Question
from medtransfer.config import fingerprint
from medtransfer.data.packed import PackedDataset
from medtransfer.evaluation.intervals import Interval
from medtransfer.evaluation.summary import average, sample, single_interval
from medtransfer.evaluation.transferability import logme, transfer_score
from medtransfer.files import write_atomic
from medtransfer.models.classifier import build_network
from medtransfer.models.weights import FileInit, TrainInit, initialise
from medtransfer.training.engine import Engine
from medtransfer.training.inference import collect

Floats = NDArray[np.float64]
IMAGENET = 1000
"""Outputs of the head of timm's ready-made networks; with another number the source's own labels are not read."""
SPLITS = ("train", "val")
LEVEL = 0.95


@dataclass(frozen=True)
class Screened:
    """Scores of a candidate before fine-tuning; None where a score does not exist for this target or start.

    Attributes:
        candidate: what was screened.
        probe: of the question's metric, a linear probe on held-out patients, with its interval over patients.
        logme: evidence of the labels given the features, in nats per image; mean over findings.
        leep: in nats.
        nce: in nats.
    """

    candidate: Candidate
    probe: Interval
    logme: float | None
    leep: float | None
    nce: float | None


def screen(
    candidate: Candidate, data: PackedDataset, question: Question, *, crop: int, engine: Engine, folder: Path
) -> Screened:
    """Return the scores of a candidate; its features are computed once and kept in ``folder``."""
    found = _features(candidate, data, question, crop, engine, folder)
    features, target = found["features"], found["target"]
    patients = data.manifest["patient_id"].to_numpy(object)[found["index"]]
    known = patients if data.meta.patients == "known" else np.full_like(patients, "")
    scores = _probe(features, target, patients, question)
    probe = _measured(scores, target, known, question)
    if question.task == "regression":
        return Screened(candidate, probe, None, None, None)
    if question.task == "multilabel":
        rows = [~np.isnan(column) for column in target.T]
        values = [logme(features[r], t[r].astype(np.int64)) for t, r in zip(target.T, rows, strict=True)]
        return Screened(candidate, probe, float(np.mean(values)), None, None)
    probabilities = found.get("probabilities")
    why = "" if probabilities is not None else "the source has no labels of its own"
    one = transfer_score(features, target, probabilities, classes=len(question.outputs), unavailable=why)
    return Screened(candidate, probe, one.logme, one.leep_nats, one.nce)


def promising(screened: list[Screened], keep: int) -> tuple[list[Screened], list[Screened]]:
    """Return the candidates to fine-tune and the others, each best first by the probe."""
    ranked = sorted(screened, key=lambda one: -one.probe.value if math.isfinite(one.probe.value) else math.inf)
    return ranked[:keep], ranked[keep:]


def _features(
    candidate: Candidate, data: PackedDataset, question: Question, crop: int, engine: Engine, folder: Path
) -> Mapping[str, NDArray[Any]]:
    weights = weights_of(candidate)
    about = {
        "data": data.meta.content_hash,
        "question": question.model_dump(mode="json"),
        "network": candidate.structure.model_dump(mode="json"),
        "start": start_hash(weights),
        "crop": crop,
        "precision": engine.precision,
    }
    file = folder / f"{candidate.variant}-{candidate.condition}-{fingerprint(about)}.npz"
    if not file.exists():
        found = _pass(candidate, weights, data, question, crop, engine)
        write_atomic(file, lambda staged: _save(staged, found))
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def _pass(
    candidate: Candidate, weights: Path | None, data: PackedDataset, question: Question, crop: int, engine: Engine
) -> dict[str, NDArray[Any]]:
    import torch

    model = build_network(candidate.structure, classes=IMAGENET, seed=0)
    report = initialise(model, candidate.structure, FileInit(path=weights) if weights else TrainInit())
    own_labels = "head.weight" in report.loaded

    def outputs(batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        features = model.features(batch["image"])
        if not own_labels:
            return {"features": features.float()}
        return {"features": features.float(), "probabilities": torch.softmax(model.head(features).float(), dim=1)}

    return collect(engine.place(model), outputs, view(data, question, SPLITS, crop, engine), engine)


def _save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with path.open("wb") as handle:
        np.savez(handle, **arrays)  # type: ignore[arg-type]
        os.fsync(handle.fileno())


def _probe(features: NDArray[Any], target: NDArray[Any], patients: NDArray[np.object_], question: Question) -> Floats:
    """Return scores of held-out patients: class probabilities ``[N, classes]``, or ``[N, outputs]``."""
    if question.task in ("binary", "multiclass"):
        raw = held_out([features], target, patients)
        powers = np.exp(raw - raw.max(axis=1, keepdims=True))
        shares: Floats = powers / powers.sum(axis=1, keepdims=True)
        return shares[:, [question.outputs.index(question.positive)]] if question.task == "binary" else shares
    scores = np.full(target.shape, np.nan)
    for column, values in enumerate(target.T):
        known = ~np.isnan(values)
        if question.task == "multilabel":
            scores[known, column] = held_out([features[known]], values[known].astype(np.int64), patients[known])[:, 1]
        else:
            scores[known, column] = _regressed(features[known], values[known], patients[known])
    return scores


def _regressed(features: NDArray[Any], values: NDArray[Any], patients: NDArray[np.object_]) -> Floats:
    """Return predictions of held-out patients by ridge regression, with the penalty of the probes of classes."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = np.zeros(len(values))
    for train, test in GroupKFold(FOLDS, shuffle=True, random_state=0).split(values, groups=patients):
        probe = make_pipeline(StandardScaler(), Ridge(STRENGTH * features.shape[1]))
        scores[test] = probe.fit(features[train], values[train]).predict(features[test])
    return scores


def _measured(scores: Floats, target: NDArray[Any], patients: NDArray[np.object_], question: Question) -> Interval:
    options: dict[str, Any] = {"thresholds": [0.5], "draws": 1000, "seed": 0}
    if question.task in ("binary", "multiclass"):
        truth = (target == question.outputs.index(question.positive)).astype(int) if question.positive else target
        own = scores[:, 0] if question.positive else scores
        one = sample([question.metric], truth, own[None], patients, population=patients, stratified=True, **options)
        return single_interval(one[question.metric], LEVEL)
    parts = []
    for column in range(target.shape[1]):
        known = ~np.isnan(target[:, column])
        truth, own = target[known, column], scores[known, column]
        truth = truth.astype(int) if question.task == "multilabel" else truth.astype(np.float64)
        parts.append(sample([question.metric], truth, own[None], patients[known], population=patients, **options))
    return single_interval(average([part[question.metric] for part in parts]), LEVEL)
