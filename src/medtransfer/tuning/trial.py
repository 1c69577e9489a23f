"""One trial from its values to what it reached: validated, fitted in a workspace of its own, tracked, written down."""

import gc
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from medtransfer import paths
from medtransfer.errors import ConfigError, ModelError, TrainingError
from medtransfer.files import write_json
from medtransfer.models.classifier import Classifier
from medtransfer.models.cost import count_cost, step_seconds
from medtransfer.params import Params
from medtransfer.tracking.journal import EVENTS, read_events
from medtransfer.tracking.mlflow_tracker import open_run
from medtransfer.tracking.tracker import RunSpec, Tracker
from medtransfer.training.engine import Engine
from medtransfer.training.fitting import FitSpec, Setting
from medtransfer.tuning.config import Objective, SearchConfig
from medtransfer.tuning.fits import private_workspace, run_fits
from medtransfer.tuning.pruning import Stopped, Watch
from medtransfer.tuning.space import Values, trial_params
from medtransfer.tuning.study import RESULT

State = Literal["COMPLETE", "PRUNED", "FAIL"]
RECORDS = "records"


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search with all that its trials share; read from params.yaml by every process on its own.

    Attributes:
        name: of the search.
        config: its section.
        tree: params.yaml as it is.
        space_hash: identity of the search.
        code: hash of the code that the fits run.
    """

    name: str
    config: SearchConfig
    tree: Mapping[str, Any]
    space_hash: str
    code: str


@dataclass
class Reached:
    """What became of a trial, fit for JSON."""

    state: State
    values: list[float] = field(default_factory=list)
    reason: str = ""
    seconds: float = 0.0
    watched: list[float | None] = field(default_factory=list)
    cost: float | None = None
    run_key: str = ""
    code: str = ""


def run_trial(
    search: Search, values: Values, watch: Watch, *, number: int, folder: Path, threads: int, nested_in: str
) -> Reached:
    """Run a trial; write what it reached to its folder before anyone is told.

    Raises:
        MedTransferError: something that concerns all trials alike: missing weights, damaged data.
    """
    begun, folder = time.monotonic(), folder.absolute()
    try:
        params = trial_params(search.tree, search.config, values, search.config.seed)
    except ConfigError as error:
        reached = Reached("PRUNED", reason=f"not valid: {error}")
    else:
        spec = _run_spec(search, values, number, params.profile, nested_in)
        with open_run(spec, folder / RECORDS) as tracker:
            reached = _outcome(search, params, watch, tracker, folder, threads)
            tracker.tags({"state": reached.state.lower()} | ({"reason": reached.reason} if reached.reason else {}))
            tracker.metrics(dict(zip(_names(search.config), reached.values, strict=False)), 0)
            if reached.state != "COMPLETE":
                tracker.close("KILLED" if reached.state == "PRUNED" else "FAILED")
        reached.run_key = read_events(folder / RECORDS / EVENTS)[0][0].body["run_key"]
    reached.seconds, reached.code, reached.cost = time.monotonic() - begun, search.code, watch.cost
    reached.watched = [value if math.isfinite(value) else None for value in watch.watched]
    write_json(folder / RESULT, asdict(reached))
    gc.collect()
    return reached


def _names(config: SearchConfig) -> list[str]:
    return [f"objective/{objective.name}" for objective in config.objectives]


def _run_spec(search: Search, values: Values, number: int, profile: str, nested_in: str) -> RunSpec:
    short = " · ".join(f"{key.rpartition('.')[2]} {_short(value)}" for key, value in values.items())
    return RunSpec(
        experiment=search.config.study,
        name=f"trial {number:03d} · {search.name} · {short}"[:500],
        tags={
            "study": search.config.study,
            "phase": "search-trial",
            "search": search.name,
            "trial": str(number),
            "profile": profile,
            "space_hash": search.space_hash,
        },
        params=dict(values),
        nested_in=nested_in,
    )


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _outcome(search: Search, params: Params, watch: Watch, tracker: Tracker, folder: Path, threads: int) -> Reached:
    """Run the fits of a trial and say how it ended."""
    hardware = params.hardware.model_copy(update={"threads": params.hardware.threads or threads})
    root = paths.workspace().absolute()
    pointers = {name: root / pointer for name, pointer in params.pointers.items()}
    setting = Setting(engine=Engine(hardware), profile=params.profile, pointers=pointers, code=search.code)
    begin = partial(_count_cost, search.config, watch, setting.engine)

    def fit() -> list[float]:
        with private_workspace(folder, search.config, params, search.config.seed):
            _, result = run_fits(search.config, params, setting, tracker, observe=watch.observe, begin=begin)
        return [_value(objective, result.metrics, watch.cost) for objective in search.config.objectives]

    return ended(search.config, fit)


def ended(config: SearchConfig, fit: Callable[[], list[float]]) -> Reached:
    """Return how a trial ended: with objectives, stopped early, or failed; what concerns it alone ends no worker."""
    try:
        values = fit()
    except Stopped as stopped:
        return Reached("PRUNED", reason=str(stopped))
    except TrainingError as error:
        return Reached("PRUNED", reason=str(error))
    except (ConfigError, ModelError) as error:
        return Reached("FAIL", reason=str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        limit = config.memory_gb
        return Reached("FAIL", reason=f"more memory than {f'the {limit:g} GiB of memory_gb' if limit else 'there is'}")
    bad = [o.name for o, value in zip(config.objectives, values, strict=True) if not math.isfinite(value)]
    if bad:
        return Reached("PRUNED", reason=f"{bad[0]} is not a number")
    return Reached("COMPLETE", values=values)


def _count_cost(config: SearchConfig, watch: Watch, engine: Engine, spec: FitSpec) -> None:
    """Measure what the network of the last fit costs, where that is an objective."""
    kinds = [objective.cost for objective in config.objectives if objective.cost]
    if not kinds:
        return
    model = cast(Classifier, spec.task().exported())
    engine.place(model)
    seconds = kinds[0] == "step_seconds"
    watch.cost = float(
        step_seconds(model, spec.crop, batch=spec.train.batch_size)
        if seconds
        else count_cost(model, spec.crop).multiply_adds
    )


def _value(objective: Objective, metrics: Mapping[str, float], cost: float | None) -> float:
    if objective.metric is None:
        return math.nan if cost is None else cost
    if objective.metric not in metrics:
        known = ", ".join(sorted(name for name in metrics if name.startswith("val/")))
        raise ConfigError(f"objective {objective.metric!r} is not computed by the last fit; there are {known}")
    return metrics[objective.metric]


def _is_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out; torch raises plain RuntimeErrors on a CPU."""
    words = ("allocate memory", "out of memory", "not enough memory", "bad alloc", "bad_alloc")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)
