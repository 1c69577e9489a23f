"""``medtransfer compare … --register MODEL``: the best fit of a comparison becomes a version of a registered model."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from medtransfer import paths
from medtransfer.comparing.fits import fitted
from medtransfer.comparing.run import Comparison
from medtransfer.errors import ConfigError
from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.evaluation.scorecard import best_fit, scorecard
from medtransfer.params import RegistryConfig
from medtransfer.reporting.candidate import about, card_facts, data_facts, fits_rows
from medtransfer.reporting.model_card import model_description
from medtransfer.stages.register import promote_the_first, register_with_shift
from medtransfer.tracking.chain import chain_of
from medtransfer.tracking.gates import NOT_AUDITED
from medtransfer.tracking.history import describe
from medtransfer.training.progress import console


def register_compared(name: str, one: Comparison, table: pd.DataFrame, *, command: str, root: Path) -> None:
    """Register the best fit of a comparison by its validation metric: a candidate, or the champion of a new model.

    Args:
        name: of the registered model.
        one: the comparison.
        table: its predictions.
        command: that compares again, for the card.
        root: folder of the raw images.

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
    dataset = one.data.meta.name
    best = best_fit(scorecard(table, evaluation), fits, dataset=dataset, metric=question.metric)
    model = fitted(one.name, best["variant"], best["condition"], best["seed"])
    rows = fits_rows(table, best)
    facts = card_facts(
        best,
        model=name,
        network=model.variant,
        dataset=dataset,
        rivals=len(fits) * len(one.budget.seeds),
        chain=chain_of(model.records, paths.study_folder(model.study)),
        datasets={dataset: data_facts(one.data.meta.model_dump(mode="json"), one.data.manifest, phantoms=False)},
        rows=rows,
        evaluation=evaluation,
        neg_pos_ratio={},
        audit=NOT_AUDITED,
    )
    facts = replace(facts, rebuild=[f"{command} --register {name}"])
    tags = {"study": model.study, "network": model.variant, "profile": "compare"}
    note = about(facts, best, rows, gate="open: 1 data set", tags=tags)
    version = register_with_shift(model, note, one.data, root, name=name)
    describe(name, model_description(facts))
    why = f"best validation {question.metric}"
    alias = promote_the_first(name, version, RegistryConfig().alias, why=why, audit=facts.audit)
    said = (
        f"registered {name} version {version}{f' @{alias}' if alias else ''}: {model.variant}, start {model.condition}"
    )
    console.print(f"{said}, seed {model.seed} ({why} of {facts.rivals} fits)", markup=False, soft_wrap=True)
