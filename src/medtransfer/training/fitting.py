"""One fit from its parts: what is trained on which data, how it is tracked, what identifies it, how it is stored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from medtransfer import paths
from medtransfer.config import Config, fingerprint
from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.errors import CheckpointError
from medtransfer.files import read_json
from medtransfer.models.classifier import Classifier
from medtransfer.models.structures import Structure
from medtransfer.models.weights import save_weights
from medtransfer.tracking.lineage import collect_lineage
from medtransfer.tracking.tracker import DatasetInput, RunSpec
from medtransfer.training.engine import Engine
from medtransfer.training.loop import FitResult
from medtransfer.training.optim import TrainConfig
from medtransfer.training.selection import FitMetrics, finite
from medtransfer.training.task import Task


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all fits of one command share."""

    engine: Engine
    profile: str
    pointers: Mapping[str, Path]
    """DVC pointer file of every data set's raw files, for the lineage; files that DVC does not version have none."""
    code: str = ""
    """Hash of the code that the fits run, ``medtransfer.code.digest``."""


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The fit whose weights a fit starts from; ``folder`` holds model.safetensors."""

    folder: Path
    sha256: str
    run_key: str | None

    @classmethod
    def read(cls, fit: paths.FitPaths) -> "Parent":
        """Read the weights of a fit and, when its records are there, the key of the run that made it.

        Raises:
            CheckpointError: there are no weights.
        """
        if not (fit.weights / "config.json").exists():
            raise CheckpointError(f"{fit.weights}: no weights here; run the stage that makes them first (dvc repro)")
        record = fit.records / "run.json"
        key = read_json(record)["run_key"] if record.exists() else None
        return cls(folder=fit.weights, sha256=read_json(fit.weights / "config.json")["sha256"], run_key=key)


@dataclass(frozen=True, kw_only=True)
class FitSpec(paths.FitPaths):
    """One seed of one condition of a variant: all that a fit is made of.

    Attributes:
        phase: the phase that trains it.
        title: the fit in a list of runs, without phase and seed: ``resnet50_attn5 · stl_n→stl_m``.
        paper: whose method it is.
        tags: the study's own words for it (network, chain, strategy, …); filters and groups of the tracker's pages.
        settings: the phase's parameters as they are tracked.
        train: budget, optimiser and selection.
        crop: side in pixels of the images that the network reads.
        data: the data sets by their role. The network expects images prepared like those of the first.
        loaders: one loader, or several by role whose batches reach the task together; the test split reaches none.
        network: the configuration of the network.
        task: builds what is trained; not called when the fit is finished already.
        validate: validation metrics of the task, or ``None``.
        parent: the fit whose weights it starts from.
        positive: the class of two-class metrics, if any.
        trial: it only helps to choose how others are trained; tracked as the phase ``trial``.
        counts: what was counted in the data, by metric name; tracked once, at step 0.
        lungs: where its lung masks are from, stored with what prepares its images: ``masks`` is ``files`` or ``none``,
            ``segmenter`` a name or empty.
        normalization: mean and standard deviation on 0–1 of its images; those of the first data set when not given.
    """

    phase: str
    title: str
    paper: str
    tags: Mapping[str, str]
    settings: Config
    train: TrainConfig
    crop: int
    data: Mapping[str, PackedDataset]
    loaders: Loader | Mapping[str, Loader]
    network: Structure
    task: Callable[[], Task]
    validate: Callable[[Task], dict[str, float]] | None
    parent: Parent | None = None
    positive: str = ""
    trial: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    lungs: Mapping[str, str] = field(default_factory=dict)
    normalization: tuple[Sequence[float], Sequence[float]] | None = None

    @property
    def run_name(self) -> str:
        """A name that reads in a list without opening the run."""
        return " · ".join((self.tracked_phase, self.title, f"seed {self.seed}"))

    @property
    def tracked_phase(self) -> str:
        """The phase as the tracker's pages show it."""
        return "trial" if self.trial else self.phase

    @property
    def names(self) -> dict[str, str]:
        """What names the fit: study, phase, variant, condition, seed, paper and the study's own words."""
        place = {key: getattr(self, key) for key in ("study", "variant", "condition", "seed", "paper")}
        return {key: str(value) for key, value in ({"phase": self.tracked_phase} | place | dict(self.tags)).items()}


def identity(spec: FitSpec, setting: Setting) -> dict[str, Any]:
    """Return everything that decides a fit's weights; a change of any part trains it again."""
    return {
        "names": spec.names,
        "settings": spec.settings.model_dump(mode="json"),
        "network": spec.network.model_dump(mode="json"),
        "data": {role: data.meta.content_hash for role, data in spec.data.items()},
        "parent": spec.parent.sha256 if spec.parent else "",
        "precision": setting.engine.precision,
        "world": setting.engine.world,
        "code": setting.code,
    }


def run_spec(spec: FitSpec, setting: Setting) -> RunSpec:
    """Return how a fit appears in the tracker."""
    known = identity(spec, setting)
    names = [data.meta.name for data in spec.data.values()]
    pointers = ([setting.pointers[name]] if name in setting.pointers else [] for name in names)
    lineages = [collect_lineage(known, root=paths.workspace()) for known in pointers]
    raw = [",".join(lineage["data"].values()) for lineage in lineages]
    run_key = spec.parent.run_key if spec.parent else None
    tags = spec.names | {
        "dataset": ", ".join(names),
        "data_md5": ",".join(dict.fromkeys(raw)),
        "git_commit": str(lineages[0]["git_commit"]),
        "git_dirty": str(lineages[0]["git_dirty"]),
        "params_fingerprint": fingerprint(known),
        "parent_run": run_key or "",
        "profile": setting.profile,
    }
    return RunSpec(
        experiment=spec.study,
        name=spec.run_name,
        tags=tags,
        params={key: known[key] for key in ("settings", "network", "precision", "world")},
        datasets=tuple(
            DatasetInput(name=data.meta.name, digest=data.meta.content_hash[:36], path=",".join(lineage["data"]))
            for data, lineage in zip(spec.data.values(), lineages, strict=True)
        ),
        parents=(run_key,) if run_key else (),
    )


def save(spec: FitSpec, task: Task, folder: Path, result: FitResult) -> None:
    """Store what a finished task exports, with what its outputs mean and how its images are prepared."""
    first = next(iter(spec.data.values()))
    metrics: FitMetrics = finite(result.metrics)
    extra: dict[str, Any] = {"fit": spec.names, "dataset": first.meta.name, "positive": spec.positive}
    extra |= {"parent": spec.parent.sha256 if spec.parent else "", "metrics": metrics, "best_step": result.best_step}
    save_weights(
        cast(Classifier, task.exported()),
        folder,
        config=spec.network,
        heads=task.heads(),
        preprocessing=preprocessing(first, spec.crop, spec.normalization) | dict(spec.lungs),
        extra=extra,
    )


def preprocessing(
    data: PackedDataset, crop: int, normalization: tuple[Sequence[float], Sequence[float]] | None = None
) -> dict[str, Any]:
    """Return how images must be prepared for a network trained on this data set; stored beside its weights."""
    pack = data.meta.pack.model_dump(mode="json")
    mean, std = normalization or (data.meta.mean, data.meta.std)
    return pack | {"crop": crop, "mean": list(mean), "std": list(std)}
