"""``medtransfer register STUDY``: the best model of each contest becomes a candidate, the first of all the champion."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from medtransfer import paths
from medtransfer.audit.record import audit_tag, gravest, read_audits
from medtransfer.data.packed import PackedDataset
from medtransfer.errors import DataError
from medtransfer.evaluation.noninferiority import compare_models
from medtransfer.evaluation.predictions import read_predictions
from medtransfer.evaluation.scorecard import best_fit
from medtransfer.evaluation.shift import write_shift
from medtransfer.files import read_json, read_sealed, sha256_file, write_json
from medtransfer.models.weights import load_model
from medtransfer.params import Params, load_params
from medtransfer.paths import FitPaths
from medtransfer.reporting.candidate import about, card_facts, data_facts, fits_rows
from medtransfer.reporting.model_card import model_description
from medtransfer.studies import VERBS, module
from medtransfer.studies.base import Contest, FittedModel
from medtransfer.tracking.chain import chain_of
from medtransfer.tracking.gates import CONFOUNDED, SHIFT, WEIGHTS
from medtransfer.tracking.history import describe, refresh
from medtransfer.tracking.promotions import promote, promotions
from medtransfer.tracking.registry import About, register_model
from medtransfer.training.progress import console
from medtransfer.training.seen import training_shift


def run(options: Namespace) -> None:
    """Register the winner of every contest and write ``out/<study>/results/champions.json``."""
    params = load_params()
    card = read_sealed(paths.card(options.study))
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
        audit=_audited(model),
    )
    gate = f"open: {len(read_json(paths.gate_study(model.study)))} data sets"
    tags = {"study": model.study, "network": model.network, "profile": params.profile}
    data, root = PackedDataset.open(paths.dataset(contest.dataset)), params.dataset(contest.dataset).source.root
    note = about(facts, best, rows, gate=gate, tags=tags)
    version = register_with_shift(model, note, data, root, name=contest.model)
    describe(contest.model, model_description(facts))
    why = f"best validation {contest.metric}"
    alias = promote_the_first(contest.model, version, params.registry.alias, why=why, audit=facts.audit)
    run_key = read_json(model.records / "run.json")["run_key"]
    return best | {"model": contest.model, "alias": alias, "version": version, "run_key": run_key}


def register_with_shift(model: FitPaths, note: About, data: PackedDataset, root: Path, *, name: str) -> int:
    """Register a fit with the statistics of its training images and return the version.

    Args:
        model: the fit.
        note: what else a reader should know.
        data: the data set that it was trained on.
        root: folder of its raw files.
        name: registered model.
    """
    network, description = load_model(model.weights)
    with TemporaryDirectory() as folder:
        file = Path(folder) / SHIFT
        try:
            write_shift(training_shift(network, description["preprocessing"], data, root), file)
            note = replace(note, shift=file)
        except DataError as error:  # the model answers without them, and says that they are not available
            console.print(f"{name}: whether images are like those of training is not available: {error}", markup=False)
        return register_model(model.weights, records=model.records, name=name, about=note)


def _audited(model: FittedModel) -> str:
    """Return what the audit of the study found about a network, its gravest verdict first.

    Raises:
        DataError: there is no audit of these weights.
    """
    file, weights = paths.audit(model.study), sha256_file(model.weights / WEIGHTS)
    own = [one for one in read_audits(file) if one["weights"] == weights] if file.exists() else []
    if not own:
        raise DataError(f"{file}: holds no audit of {model.weights}; run: medtransfer audit {model.study}")
    return audit_tag(gravest(own))


def promote_the_first(name: str, version: int, alias: str, *, why: str, audit: str) -> str:
    """Give the alias to a model's first version; a later one is compared and waits for a person. Return its alias.

    A first version that uses a shortcut waits too: it needs a reason of a person.
    """
    entries = promotions(name, alias)
    if not entries and audit.startswith(CONFOUNDED):
        command = f"medtransfer registry promote {name} --version {version} --why REASON --override REASON"
        said = f"{name}: version {version} is a candidate without @{alias}, the audit says {audit}; {command}"
        console.print(said, markup=False, soft_wrap=True)
        return ""
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
    data = PackedDataset.open(paths.dataset(name), arrays=False)
    content = data.meta.model_dump(mode="json")
    return data_facts(content, data.manifest, phantoms=params.dataset(name).phantoms)
