"""``medtransfer register STUDY``: the best model of each contest on validation images becomes the champion."""

from argparse import Namespace
from typing import Any

from medtransfer import paths
from medtransfer.evaluation.scorecard import best_fit
from medtransfer.files import read_json, write_json
from medtransfer.params import Params, load_params
from medtransfer.studies import VERBS, module
from medtransfer.studies.base import Contest, FittedModel
from medtransfer.tracking.registry import register_model


def run(options: Namespace) -> None:
    """Register the winner of every contest and write ``out/<study>/results/champions.json``."""
    params = load_params()
    card = read_json(paths.metrics(options.study))
    config, predictions = params.study(options.study), module(options.study, VERBS["register"])
    models = {(model.variant, model.condition, model.seed): model for model in predictions.fitted(config)}
    champions = [_register(contest, card, models, params) for contest in predictions.contests(config)]
    write_json(paths.results(options.study) / "champions.json", champions)


def _register(
    contest: Contest, card: dict[str, Any], models: dict[tuple[str, str, int], FittedModel], params: Params
) -> dict[str, Any]:
    best = best_fit(card, contest.fits, dataset=contest.dataset, metric=contest.metric)
    model = models[best["variant"], best["condition"], best["seed"]]
    alias, value = params.registry.alias, f"{best['value']:.4f}"
    tags = {key: str(best[key]) for key in ("variant", "condition", "seed")} | {f"val_{contest.metric}": value}
    version = register_model(
        model.weights,
        records=model.records,
        name=contest.model,
        alias=alias,
        tags=tags | {"study": model.study, "network": model.network, "profile": params.profile},
        why=f"best validation {contest.metric} of {model.study}",
    )
    record = read_json(model.records / "run.json")
    return best | {"model": contest.model, "alias": alias, "version": version, "run_key": record["run_key"]}
