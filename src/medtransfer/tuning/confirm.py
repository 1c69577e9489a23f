"""Confirmation: adopted and former values on new seeds, compared on test rows that no trial has read."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from medtransfer import paths, studies
from medtransfer.config import fingerprint
from medtransfer.errors import ConfigError
from medtransfer.evaluation.cells import Cell, EvaluationConfig, measure
from medtransfer.evaluation.claims import Claim, judge
from medtransfer.evaluation.metrics import METRICS
from medtransfer.evaluation.predictions import read_predictions, write_predictions
from medtransfer.models.weights import load_model
from medtransfer.params import Params
from medtransfer.tracking.tracker import NullTracker
from medtransfer.training.engine import Engine
from medtransfer.training.fitting import FitSpec, Setting
from medtransfer.training.inference import predicted_rows
from medtransfer.training.loading import evaluation_loader
from medtransfer.training.progress import console
from medtransfer.tuning.fits import places, private_workspace, run_fits
from medtransfer.tuning.records import Adoption, Confirmation, write_record
from medtransfer.tuning.space import Values, trial_params
from medtransfer.tuning.storage import folder
from medtransfer.tuning.trial import Search

FEWEST = 3
"""Seeds with which the chance in training can be told from a gain at all."""
ARMS = ("adopted", "former")


def confirm(search: Search, params: Params, adoption: Adoption, *, count: int, threads: int) -> Confirmation:
    """Fit adopted and former values with new seeds, judge the gain on test rows, and write it beside the result.

    Every fit is kept until the next search begins: a killed confirmation goes on where it was.

    Raises:
        ConfigError: fewer than three seeds, or the objective is no metric of the predictions table.
    """
    if count < FEWEST:
        raise ConfigError(f"--seeds {count}: expected at least {FEWEST}; with fewer no gain can be told from chance")
    metric, seeds = _metric(search), new_seeds(params, search, count)
    values = {"adopted": adoption.values, "former": adoption.former}
    parts = [_predicted(search, arm, values[arm], seed, threads=threads) for seed in seeds for arm in ARMS]
    table, ratios = pd.concat(parts, ignore_index=True), balance(search, values, seeds[0])
    return _judged(search, adoption, table, metric, seeds, params.evaluation, ratios)


def balance(search: Search, values: Mapping[str, Values], seed: int) -> dict[tuple[str, str], float]:
    """Return the negatives per positive that the study weights test rows to, where it does, by (arm, condition)."""
    ratios = {}
    for arm, own in values.items():
        params = trial_params(search.tree, search.config, own, seed)
        place = places(search.config, params)[-1][1:]
        study = search.config.study
        for model in studies.module(study, "predictions").fitted(params.study(study)):
            if (model.folder, model.variant, model.condition) == place and model.neg_pos_ratio is not None:
                ratios[arm, model.condition] = model.neg_pos_ratio
    return ratios


def new_seeds(params: Params, search: Search, count: int) -> tuple[int, ...]:
    """Return seeds that neither the study nor the search uses: those after the largest of them."""
    section = params.study(search.config.study)
    used = [search.config.seed]
    for name in type(section).model_fields:
        if name == "seeds" or name.endswith("_seeds"):
            used += getattr(section, name)
    return tuple(range(max(used) + 1, max(used) + 1 + count))


def _measured(
    table: pd.DataFrame, metric: str, evaluation: EvaluationConfig, ratios: Mapping[tuple[str, str], float]
) -> list[Cell]:
    metrics = tuple(dict.fromkeys((metric, "auroc")))
    return measure(table, evaluation, splits=("test",), metrics=metrics, neg_pos_ratio=ratios)


def _weighting(ratios: Mapping[tuple[str, str], float]) -> list[str]:
    return sorted({f"test rows weighted to {ratio:g} negatives per positive" for ratio in ratios.values()})


def _metric(search: Search) -> str:
    """Return the metric of evaluation that the first objective is: ``auroc`` of ``val/auroc_covid``."""
    name = search.config.objectives[0].name.removeprefix("val/")
    known = [metric for metric in METRICS if name == metric or name.startswith(f"{metric}_")]
    if not known:
        raise ConfigError(
            f"tuning.{search.name}: objective {name!r} is no metric of predictions; there are {', '.join(METRICS)}"
        )
    return max(known, key=len)


def _predicted(search: Search, arm: str, values: Values, seed: int, *, threads: int) -> pd.DataFrame:
    """Return test and validation predictions of one fit, trained unless they are there already."""
    name = f"{arm}-seed{seed}-{fingerprint({'values': values, 'space': search.space_hash, 'code': search.code})}"
    place = (folder(search.name) / "confirm" / name).absolute()
    file = place / "predictions.parquet"
    if not file.exists():
        params = trial_params(search.tree, search.config, values, seed)
        console.print(f"{search.name}: {arm} values, seed {seed}", markup=False)
        table = _fitted(search, params, place, arm, seed, threads)
        write_predictions([table], file)
    return read_predictions(file)


def _fitted(search: Search, params: Params, place: Path, arm: str, seed: int, threads: int) -> pd.DataFrame:
    hardware = params.hardware.model_copy(update={"threads": params.hardware.threads or threads})
    root = paths.workspace().absolute()
    pointers = {name: root / pointer for name, pointer in params.pointers.items()}
    setting = Setting(engine=Engine(hardware), profile=params.profile, pointers=pointers, code=search.code)
    with private_workspace(place, search.config, params, seed):
        spec, _ = run_fits(
            search.config, params, setting, NullTracker(), observe=lambda phase, values: None, begin=lambda spec: None
        )
        return _rows(spec, setting, arm)


def _rows(spec: FitSpec, setting: Setting, arm: str) -> pd.DataFrame:
    """Return what the stored network predicts of its positive class, or of all outputs, as the variant ``arm``."""
    network, description = load_model(spec.weights)
    setting.engine.place(network)
    data = next(iter(spec.data.values()))
    outputs = tuple(o for head in description["heads"].values() if head.kind == "probability" for o in head.outputs)
    tables = []
    for split in ("val", "test"):
        findings = () if spec.positive or len(description["heads"]) == 1 else outputs
        loader = evaluation_loader(data, split, spec.crop, setting.engine, outputs=findings)
        rows = predicted_rows(
            network,
            description["heads"],
            loader,
            setting.engine,
            study=spec.study,
            variant=arm,
            condition=spec.condition,
            seed=spec.seed,
        )
        tables.append(rows[rows["output"] == spec.positive] if spec.positive else rows)
    return pd.concat(tables, ignore_index=True)


def _judged(
    search: Search,
    adoption: Adoption,
    table: pd.DataFrame,
    metric: str,
    seeds: tuple[int, ...],
    evaluation: EvaluationConfig,
    ratios: Mapping[tuple[str, str], float],
) -> Confirmation:
    by_arm = {cell.variant: cell for cell in _measured(table, metric, evaluation, ratios)}
    adopted, former = by_arm["adopted"], by_arm["former"]
    maximize = search.config.objectives[0].direction == "maximize"
    signs = (1.0, -1.0) if maximize else (-1.0, 1.0)
    claim = Claim(
        key="gain",
        statement="the adopted values are better than the former ones",
        source=f"tuning.{search.name}",
        how="adopted − former on the same test rows and seeds",
        contrast={adopted.key: signs[0], former.key: signs[1]},
    )
    judged = judge(claim, {adopted.key: adopted, former.key: former}, metric)
    verdict = {"holds": "gain", "does not hold": "loss"}.get(judged.verdict, "no gain")
    confirmation = Confirmation(
        search=search.name,
        trial=adoption.trial,
        trials=adoption.trials,
        metric=metric,
        seeds=seeds,
        points={arm: tuple(map(float, by_arm[arm].samples[metric].points)) for arm in ARMS},
        gain=judged.estimate,
        low=judged.low,
        high=judged.high,
        verdict=verdict,
        reason="; ".join((judged.reason, *_weighting(ratios))),
        images=len(adopted.images),
        patients=len(set(adopted.patients)),
    )
    write_record(confirmation)
    return confirmation
