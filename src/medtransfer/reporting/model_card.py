"""The card of a registered model: use, data, numbers with intervals, audit, limits, lineage and how to rebuild it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer.evaluation.intervals import Interval
from medtransfer.reporting.formatting import METRIC_TITLES

Results = Mapping[tuple[str, str], Mapping[str, Interval]]
"""(data set, split) → metric → value with interval."""
SHOWN = ("auroc", "auprc", "sensitivity", "specificity", "f1", "brier", "macro_auroc", "macro_auprc", "top_1")


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card says.

    Attributes:
        model: name of the registered model.
        study: with ``paper``, whose method it is.
        paper: see study.
        network: name of the architecture.
        title: variant, condition and seed in words.
        dataset: the data set of fine-tuning.
        datasets: name → content of dataset.json with ``phantoms`` and ``splits``, of every data set in the chain.
        results: numbers of this one network.
        metric: the metric that chose it, with ``value`` on validation images.
        value: see metric.
        rivals: how many fits competed.
        audit: state of the audit.
        steps: the chain of fits in words, the first one first.
        rebuild: commands.
        dirty: whether a fit ran with uncommitted changes.
    """

    model: str
    study: str
    paper: str
    network: str
    title: str
    dataset: str
    datasets: Mapping[str, Mapping[str, Any]]
    results: Results
    metric: str
    value: float
    rivals: int
    audit: str
    steps: Sequence[str]
    rebuild: Sequence[str]
    dirty: bool


def images_in_words(datasets: Mapping[str, Mapping[str, Any]]) -> str:
    """Return whether the images of some data sets are real, in one sentence."""
    phantoms = [name for name, meta in datasets.items() if meta["phantoms"]]
    if not phantoms:
        return f"Images: {', '.join(datasets)}."
    if len(phantoms) == len(datasets):
        return f"All images are drawn phantoms ({', '.join(phantoms)}); none shows a patient."
    return f"Drawn phantoms: {', '.join(phantoms)}; real images: {', '.join(n for n in datasets if n not in phantoms)}."


def title(metric: str) -> str:
    """Return a metric's name for readers."""
    return METRIC_TITLES.get(metric, metric)


def in_words(one: Interval) -> str:
    """Return a value with its interval, three decimals."""
    if math.isnan(one.value):
        return "no value"
    return f"{one.value:.3f}" + ("" if math.isnan(one.low) else f" ({one.low:.3f} … {one.high:.3f})")


def version_description(facts: CardFacts) -> str:
    """Return the description of a version: what, from where, on what, result, and what it is not for."""
    lines = [
        f"{facts.title}, fine-tuned on {facts.dataset}. Study {facts.study} ({facts.paper}).",
        f"Chosen among {facts.rivals} fits by validation {title(facts.metric)}: {facts.value:.3f}.",
        *(
            f"Test {title(facts.metric)} on {dataset}: {in_words(values[facts.metric])}, interval over patients."
            for (dataset, split), values in facts.results.items()
            if split == "test" and facts.metric in values
        ),
        images_in_words(facts.datasets),
        f"Audit: {facts.audit}. The model card is README.md among the artefacts. **Not for diagnosis.**",
    ]
    return "\n\n".join(lines)


def model_description(facts: CardFacts) -> str:
    """Return the description of a registered model: what its versions have in common."""
    return (
        f"Networks of the study {facts.study} ({facts.paper}) for the task on {facts.dataset}. Every version won its "
        f"contest by validation {title(facts.metric)}; a version becomes `@champion` when its gates are open. "
        f"{images_in_words(facts.datasets)} **Not for diagnosis.**"
    )


def model_card(facts: CardFacts) -> str:
    """Return the card as Markdown with the metadata of Hugging Face's model cards."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    shown = [
        (dataset, split, name, one)
        for (dataset, split), values in facts.results.items()
        for name, one in values.items()
        if name in SHOWN
    ]
    data = ModelCardData(
        model_name=facts.model,
        library_name="medtransfer",
        pipeline_tag="image-classification",
        tags=["medical-imaging", "transfer-learning", "not-for-diagnosis", facts.study, facts.network],
        eval_results=[
            EvalResult("image-classification", dataset, dataset, name, round(one.value, 4), dataset_split=split)
            for dataset, split, name, one in shown
            if not math.isnan(one.value)
        ],
    )
    card = ModelCard.from_template(
        data,
        template_path=str(Path(__file__).with_name("model_card.md")),
        model_id=facts.model,
        summary=f"{facts.title}, fine-tuned on {facts.dataset}. Study {facts.study} ({facts.paper}).",
        images=images_in_words(facts.datasets),
        dataset=facts.dataset,
        data=[_dataset(name, meta, facts.dataset) for name, meta in facts.datasets.items()],
        procedure=f"Network {facts.network}; the chain of fits is below, with the commands that repeat it.",
        rivals=facts.rivals,
        metric=title(facts.metric),
        results=[_result(*row) for row in shown],
        audit=f"{facts.audit[0].upper()}{facts.audit[1:]}.",
        limits=_limits(facts),
        lineage=facts.steps,
        rebuild="\n".join(facts.rebuild),
        citation=f"The method is that of {facts.paper}; the data sets' own citations are in the table above.",
    )
    return str(card.content)


def _dataset(name: str, meta: Mapping[str, Any], own: str) -> list[str]:
    splits = (meta["splits"].get(split) for split in ("train", "val", "test"))
    counts = ", ".join(f"{part['images']} / {part['patients']}" if part else "–" for part in splits)
    part = "fine-tuning" if name == own else "pretraining or outside test"
    kind = " (drawn phantoms)" if meta["phantoms"] else ""
    return [f"{name}{kind}", part, counts, *(_cell(meta.get(key)) for key in ("licence", "citation"))]


def _result(dataset: str, split: str, name: str, one: Interval) -> list[str]:
    bounds = one.reason or "–" if math.isnan(one.low) else f"{one.low:.3f} … {one.high:.3f}"
    return [dataset, split, title(name), "–" if math.isnan(one.value) else f"{one.value:.3f}", bounds]


def _limits(facts: CardFacts) -> list[str]:
    limits = ["One network of one training; another seed gives another network."]
    if any(meta["phantoms"] for meta in facts.datasets.values()):
        limits.append("Drawn phantoms are part of the data: the numbers say nothing about patients.")
    if not any(dataset != facts.dataset for dataset, _ in facts.results):
        limits.append("Not tested on images of another hospital or scanner.")
    if facts.audit == "not audited":
        limits.append("Not audited for shortcuts.")
    return (
        [*limits, "A fit ran with uncommitted changes: the commit alone does not rebuild it."]
        if facts.dirty
        else limits
    )


def _cell(text: Any) -> str:
    return str(text or "not stated").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
