"""``medtransfer register STUDY``: the best model of each contest becomes a candidate, the first of all the champion."""

from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from medtransfer import paths
from medtransfer.comparing.fits import fitted
from medtransfer.data.packed import PackedDataset
from medtransfer.errors import ConfigError
from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.evaluation.noninferiority import compare_models
from medtransfer.evaluation.predictions import read_predictions
from medtransfer.evaluation.scorecard import best_fit, scorecard
from medtransfer.files import read_json, write_json
from medtransfer.params import Params, RegistryConfig, load_params
from medtransfer.reporting.candidate import about, card_facts, data_facts, fits_rows
from medtransfer.reporting.model_card import model_description
from medtransfer.studies import VERBS, module
from medtransfer.studies.base import Contest, FittedModel
from medtransfer.tracking.chain import chain_of
from medtransfer.tracking.history import describe, refresh
from medtransfer.tracking.promotions import promote, promotions
from medtransfer.tracking.registry import register_model
from medtransfer.training.progress import console

if TYPE_CHECKING:
    from medtransfer.comparing.run import Comparison


def run(options: Namespace) -> None:
    """Register the winner of every contest and write ``out/<study>/results/champions.json``."""
    params = load_params()
    card = read_json(paths.metrics(options.study))
    table = read_predictions(paths.results(options.study) / "predictions.parquet")
    config, predictions = params.study(options.study), module(options.study, VERBS["register"])
    models = {(model.variant, model.condition, model.seed): model for model in predictions.fitted(config)}
    datasets = {name: _dataset(params, name) for name in module(options.study, "study").datasets(config)}
    registered = [_register(contest, card, models, table, datasets, params) for contest in predictions.contests(config)]
    write_json(paths.results(options.study) / "champions.json", registered)


def _register(
    contest: Contest,
    card: dict[str, Any],
    models: dict[tuple[str, str, int], FittedModel],
    table: pd.DataFrame,
    datasets: dict[str, dict[str, Any]],
    params: Params,
) -> dict[str, Any]:
    best = best_fit(card, contest.fits, dataset=contest.dataset, metric=contest.metric)
    model, rows = models[best["variant"], best["condition"], best["seed"]], fits_rows(table, best)
    key, ratio = (model.variant, model.condition), model.neg_pos_ratio
    facts = card_facts(
        best,
        model=contest.model,
        network=model.network,
        dataset=contest.dataset,
        rivals=sum(one[:2] in contest.fits for one in models),
        chain=chain_of(model.records, paths.study_folder(model.study)),
        datasets=datasets,
        rows=rows,
        evaluation=params.evaluation,
        neg_pos_ratio={} if ratio is None else {key: ratio},
    )
    gate = f"open: {len(read_json(paths.gate_study(model.study)))} data sets"
    tags = {"study": model.study, "network": model.network, "profile": params.profile}
    version = register_model(
        model.weights, records=model.records, name=contest.model, about=about(facts, best, rows, gate=gate, tags=tags)
    )
    describe(contest.model, model_description(facts))
    alias = _promote_the_first(contest.model, version, params.registry.alias, why=f"best validation {contest.metric}")
    run_key = read_json(model.records / "run.json")["run_key"]
    return best | {"model": contest.model, "alias": alias, "version": version, "run_key": run_key}


def register_compared(name: str, one: "Comparison", table: pd.DataFrame, *, command: str) -> None:
    """Register the best fit of a comparison by its validation metric: a candidate, or the champion of a new model.

    Args:
        name: of the registered model.
        one: the comparison.
        table: its predictions.
        command: that compares again, for the card.

    Raises:
        ConfigError: the target is a number, for which the registry has no comparison.
    """
    question = one.question
    if question.task == "regression":
        raise ConfigError(f"--register {name}: models of a number cannot be compared in the registry yet; leave it out")
    evaluation, fits = (
        EvaluationConfig(threshold="half"),
        sorted({*zip(table["variant"], table["condition"], strict=True)}),
    )
    best = best_fit(scorecard(table, evaluation), fits, dataset=one.name, metric=question.metric)
    model = fitted(one.name, best["variant"], best["condition"], best["seed"])
    rows = fits_rows(table, best)
    facts = card_facts(
        best,
        model=name,
        network=model.variant,
        dataset=one.name,
        rivals=len(fits) * len(one.budget.seeds),
        chain=chain_of(model.records, paths.study_folder(model.study)),
        datasets={one.name: data_facts(one.data.meta.model_dump(mode="json"), one.data.manifest, phantoms=False)},
        rows=rows,
        evaluation=evaluation,
        neg_pos_ratio={},
    )
    facts = replace(facts, rebuild=[f"{command} --register {name}"])
    tags = {"study": model.study, "network": model.variant, "profile": "compare"}
    note = about(facts, best, rows, gate="open: 1 data set", tags=tags)
    version = register_model(model.weights, records=model.records, name=name, about=note)
    describe(name, model_description(facts))
    why = f"best validation {question.metric}"
    alias = _promote_the_first(name, version, RegistryConfig().alias, why=why)
    said = (
        f"registered {name} version {version}{f' @{alias}' if alias else ''}: {model.variant}, start {model.condition}"
    )
    console.print(f"{said}, seed {model.seed} ({why} of {facts.rivals} fits)", markup=False, soft_wrap=True)


def _promote_the_first(name: str, version: int, alias: str, *, why: str) -> str:
    """Give the alias to a model's first version; a later one is compared and waits for a person. Return its alias."""
    entries = promotions(name, alias)
    if not entries:
        entries = [promote(name, version, alias, f"{why}, the first version", compare=compare_models)]
    refresh(name, entries)
    if entries[-1].version == version:
        return alias
    command = f"medtransfer registry promote {name} --version {version} --why REASON"
    said = f"{name}: version {version} is a candidate, version {entries[-1].version} stays @{alias}; {command}"
    console.print(said, markup=False, soft_wrap=True)
    return ""


def _dataset(params: Params, name: str) -> dict[str, Any]:
    data = PackedDataset.open(paths.dataset(name))
    content = data.meta.model_dump(mode="json")
    return data_facts(content, data.manifest, phantoms=params.dataset(name).phantoms)
