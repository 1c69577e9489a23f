"""Parameters and pipeline of a workspace for one question: only the study and phases that it needs."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from medtransfer.comparing.candidates import RANDOM, Candidate
from medtransfer.comparing.images import MARGIN, SPLIT
from medtransfer.comparing.question import Question
from medtransfer.errors import ConfigError

STUDY = "truncated_transfer"
CHAINS = {"none": "random", "stl_n": "transfer"}
"""Chain of pretraining → strategy of the study: random weights, or ready-made ones."""
_TEMPLATE = re.compile(r"\$\{([\w.]+)\}")
COMMENTS = {
    "profile": "names this workspace in runs and reports",
    "hardware": "auto: a GPU where there is one",
    "datasets": "images are split by patient; pack.size: pixels kept, of which networks read augment.crop",
    "gate": "closes when a patient or an image is in two splits",
    STUDY: (
        "variants: <network>-<random|transfer>; more of them, tasks and regimes are compared when they are listed. "
        "protocols: paper trains with train as it is, tuned first tries tuning.learning_rates"
    ),
    "evaluation": "threshold rule, resamples, seed",
    "registry": "the best network by validation becomes a candidate, the first one gets this alias",
}


@dataclass(frozen=True)
class Wanted:
    """What a workspace is for.

    Attributes:
        name: of the workspace; its data set and task are named like it.
        question: the target.
        candidate: network and start.
        source: the data set's ``source``, as params.yaml takes it.
        pointer: DVC pointer of the raw files; empty where DVC does not version them.
        official: whether a split of the table or the publisher is kept.
        crop: side of the images in pixels.
        steps: of a fit.
        lr: learning rate.
    """

    name: str
    question: Question
    candidate: Candidate
    source: Mapping[str, Any]
    pointer: str = ""
    official: bool = False
    crop: int = 160
    steps: int = 360
    lr: float = 0.0005

    @property
    def task(self) -> str:
        """The name as the study takes it: lower case, digits and ``_``."""
        word = re.sub(r"[^a-z0-9_]+", "_", self.name.lower()).strip("_")
        return word if word[:1].isalpha() else f"task_{word}"


def params_tree(wanted: Wanted) -> dict[str, Any]:
    """Return params.yaml of a workspace with one data set and one study.

    Raises:
        ConfigError: no study asks such a question, or trains such a network.
    """
    question, candidate = wanted.question, wanted.candidate
    if candidate.attention:
        raise ConfigError(
            f"--network {candidate.variant}: ATTN layers are compared along chains of several data sets; take a profile"
        )
    if question.task == "regression" or not (question.positive or question.task == "multilabel"):
        raise ConfigError(
            f"--task {question.task}: the study asks about one class against the others or about findings; give "
            "--positive or findings"
        )
    asked = {"positive": question.positive} if question.positive else {"findings": list(question.outputs)}
    channels = 3 if wanted.source.get("modality") == "natural" else 1
    dataset: dict[str, Any] = {"source": dict(wanted.source), "pointer": wanted.pointer or None}
    dataset["split"] = SPLIT.model_dump(include={"train", "val", "test", "seed"}) | {"official": wanted.official}
    dataset["pack"] = {"size": round(wanted.crop * MARGIN), "channels": channels}
    return {
        "profile": wanted.name,
        "hardware": {"device": "auto", "precision": "auto", "channels_last": True, "compile": False, "threads": None},
        "datasets": {wanted.name: dataset},
        "gate": {"min_similarity": 0.945, "allow_known_overlaps": []},
        STUDY: _study(wanted, {"dataset": wanted.name} | asked),
        "evaluation": {},
        "registry": {"alias": "champion"},
    }


def _study(wanted: Wanted, task: dict[str, Any]) -> dict[str, Any]:
    candidate = wanted.candidate
    ready = candidate.start != RANDOM
    start = {"kind": "registry", "model": candidate.start} if "models:/" in candidate.start else None
    start = start or {"kind": "file", "path": candidate.start}
    return {
        "variants": [f"{candidate.variant}-{'transfer' if ready else 'random'}"],
        "head": "gap",
        "tasks": {wanted.task: task},
        "regimes": {"all": {}},
        "protocols": ["paper"],
        "seeds": [0, 1, 2],
        "start": {candidate.network: start} if ready else {},
        "augment": {"crop": wanted.crop, "hflip": 0.5, "rotate": 10.0},
        "class_weights": False,
        "train": {
            "steps": wanted.steps,
            "validate_every": max(1, wanted.steps // 10),
            "batch_size": 16,
            "optimizer": {"name": "adamw", "lr": wanted.lr, "weight_decay": 0.0001},
            "schedule": {"name": "cosine", "warmup_steps": wanted.steps // 10},
            "selection": {"metric": "val/auprc", "tie": "val/auroc"},
        },
        "tuning": {"learning_rates": [0.0001, 0.0005, 0.002], "budget": 0.3},
    }


def params_text(tree: Mapping[str, Any], question: Question) -> str:
    """Return params.yaml with a comment above each section."""
    lines = [
        f"# One question: {question.sentence}.",
        "# Every value can be changed; medtransfer check validates the file. Other studies are added as sections,",
        "# with their stages, from params.yaml and dvc.yaml of the checkout.",
    ]
    for key, value in tree.items():
        style = None if isinstance(value, Mapping) else False  # a section in lines, its leaves in one line each
        text = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, default_flow_style=style, width=110)
        comment = (f"# {line}" for line in textwrap.wrap(COMMENTS[key], 108))
        lines += ["", *comment, text.rstrip()]
    return "\n".join(lines) + "\n"


def pipeline(stages: Mapping[str, Any], tree: Mapping[str, Any], studies: tuple[str, ...]) -> dict[str, Any]:
    """Return the stages of dvc.yaml that parameters have something for.

    Left out are stages of studies that the parameters lack and those whose loop is empty; of the others, what they
    depend on or track that is not there.

    Args:
        stages: section ``stages`` of the checkout's dvc.yaml.
        tree: the parameters.
        studies: every study that the checkout has.
    """
    absent = tuple(name for name in studies if name not in tree)
    kept = {}
    for name, stage in stages.items():
        if any(study in name for study in absent):
            continue
        loop = _loop(stage, tree, absent)
        if loop is not None and all(loop.values()):
            kept[name] = {**stage, **loop}
    made = [out for stage in kept.values() for out in _outs(stage)]
    return {name: _trimmed(stage, tree, absent, made) for name, stage in kept.items()}


def _loop(stage: Mapping[str, Any], tree: Mapping[str, Any], absent: tuple[str, ...]) -> dict[str, Any] | None:
    """Return ``foreach`` or ``matrix`` without absent studies; None where it names parameters that are not there."""
    loop: dict[str, Any] = {}
    if "foreach" in stage:
        items = stage["foreach"]
        loop["foreach"] = [item for item in items if item not in absent] if isinstance(items, list) else items
        if isinstance(items, str) and not _value(tree, items):
            return None
    if "matrix" in stage:
        loop["matrix"] = stage["matrix"]
        if not all(_value(tree, items) for items in stage["matrix"].values()):
            return None
    return loop


def _trimmed(
    stage: Mapping[str, Any], tree: Mapping[str, Any], absent: tuple[str, ...], made: list[str]
) -> dict[str, Any]:
    if "do" in stage:
        return {**stage, "do": _trimmed(stage["do"], tree, absent, made)}
    result = dict(stage)
    if "deps" in stage:
        result["deps"] = [dep for dep in stage["deps"] if _wanted_dep(dep, tree, absent, made)]
    if "params" in stage:
        result["params"] = [
            name for name in stage["params"] if "${" in name or _value(tree, f"${{{name}}}") is not None
        ]
    return result


def _wanted_dep(dep: str, tree: Mapping[str, Any], absent: tuple[str, ...], made: list[str]) -> bool:
    known = all(name.startswith(("item", "key")) or _value(tree, f"${{{name}}}") for name in _TEMPLATE.findall(dep))
    path = dep.partition("${")[0]
    there = not dep.startswith("out/") or any(path.startswith(out) or out.startswith(path) for out in made)
    return known and there and not any(study in dep for study in absent)


def _outs(stage: Mapping[str, Any]) -> Iterator[str]:
    """Yield the outputs of a stage up to the first template that a list of names does not fill in."""
    items = stage.get("foreach")
    for out in (stage.get("do") or stage).get("outs", ()):
        path = out if isinstance(out, str) else next(iter(out))
        for item in items if isinstance(items, list) else [None]:
            yield (path if item is None else path.replace("${item}", item)).partition("${")[0]


def _value(tree: Mapping[str, Any], template: str) -> Any:
    """Return what a template such as ``${a.b}`` stands for in the parameters, None where nothing is there."""
    match = _TEMPLATE.fullmatch(template)
    node: Any = tree
    for part in match[1].split(".") if match else ():
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
