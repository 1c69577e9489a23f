"""Lineage in both directions, from what MLflow holds: data sets, runs, parent runs, weights, registered versions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medtransfer.errors import TrackingError
from medtransfer.tracking.address import database_file, portable_uri, tracking_uri
from medtransfer.tracking.chain import ancestors, is_dirty, rebuild
from medtransfer.tracking.refusals import refused
from medtransfer.tracking.shipping import CODE
from medtransfer.tracking.store import RUN_KEY, client

_SHORTEST = 5
_SHORT = 12


@dataclass(frozen=True)
class Graph:
    """Everything that is known to be related.

    Attributes:
        runs: run key → ``run_key, run_id, name, status, experiment, tags, datasets, parents``.
        versions: MLflow's registered versions.
        aliases: (model, version) → its aliases.
    """

    runs: dict[str, dict[str, Any]]
    versions: list[Any]
    aliases: dict[tuple[str, str], list[str]]

    def children(self, key: str) -> list[str]:
        """Return the keys of the runs that start from a run's weights, directly or not."""
        own = [other for other, run in self.runs.items() if key in run["parents"]]
        return [*own, *(further for child in own for further in self.children(child))]

    def chain(self, key: str) -> list[dict[str, Any]]:
        """Return a run and the runs that it starts from, the first one first."""
        return [self.runs[each["run_key"]] for each in ancestors(self.runs[key], self.runs)]

    def models(self, key: str) -> list[str]:
        """Return the registered versions that a run made, in words."""
        return [self.title(v) for v in self.versions if v.run_id == self.runs[key]["run_id"]]

    def title(self, version: Any) -> str:
        """Return model, version and aliases."""
        aliases = self.aliases.get((version.name, str(version.version)), [])
        return " ".join([f"{version.name} version {version.version}", *(f"@{alias}" for alias in sorted(aliases))])


def read_graph(uri: str | None = None) -> Graph:
    """Read all runs of medtransfer and all registered versions of a store.

    Raises:
        TrackingError: the store refuses.
    """
    address = tracking_uri(uri)
    if address.startswith("sqlite") and not database_file(address).exists():
        raise TrackingError(f"{portable_uri(address)}: there is no store here; run this in a project with runs")
    store = client(uri)
    with refused(store, "the store lost an experiment meanwhile: repeat"):
        homes = {each.experiment_id: each.name for each in store.search_experiments()}
        runs = [run for home in homes for run in _pages(store.search_runs, [home])]
        versions = list(_pages(store.search_model_versions))
        known = list(_pages(store.search_registered_models))
    aliases: dict[tuple[str, str], list[str]] = {}
    for model in known:
        for alias, version in model.aliases.items():
            aliases.setdefault((model.name, str(version)), []).append(alias)
    found = (_run(run, homes) for run in runs if RUN_KEY in run.data.tags)
    return Graph({run["run_key"]: run for run in found}, versions, aliases)


def lineage(graph: Graph, wanted: str) -> list[str]:
    """Return what is known of a thing as lines: where it comes from, what was made of it, how to make it again.

    Args:
        graph: result of :func:`read_graph`.
        wanted: name or digest of a data set, ``covid-ct@champion``, ``covid-ct/2``, run id, run key or weights hash;
            of digests, ids and hashes the first five digits are enough.

    Raises:
        TrackingError: nothing, or more than one thing, has this name.
    """
    named = re.fullmatch(r"(?:models:/)?([\w-]+)(?:@([\w-]+)|/([0-9]+))", wanted)
    if named:
        return _of_version(graph, wanted, *named.groups())
    runs = [key for key, run in graph.runs.items() if _is(wanted, key, run["run_id"])]
    same = [key for key, run in graph.runs.items() if _is(wanted, run["tags"].get("weights_sha256"))]
    data = {
        (each["name"], each["digest"])
        for run in graph.runs.values()
        for each in run["datasets"]
        if wanted == each["name"] or _is(wanted, each["digest"], *run["tags"].get("data_md5", "").split(","))
    }
    kinds = sum(map(bool, (runs, same, data)))
    if kinds == 1 and len(runs) < 2:
        made = [line for key in (*runs, *same) for line in _of_run(graph, key)]  # two fits can end in equal weights
        return made + [line for name, digest in sorted(data) for line in _of_data(graph, name, digest)]
    what = "more than one thing has" if kinds else "nothing has"
    raise TrackingError(
        f"{wanted!r}: {what} this name in the store; give a data set, MODEL@ALIAS, MODEL/VERSION, a run or a hash"
    )


def _of_version(graph: Graph, wanted: str, name: str, alias: str | None, number: str | None) -> list[str]:
    for version in graph.versions:
        own = str(version.version)
        if version.name == name and (own == number or alias in graph.aliases.get((name, own), [])):
            keys = [key for key, run in graph.runs.items() if run["run_id"] == version.run_id]
            head = [f"model {graph.title(version)}", f"  weights {version.tags.get('sha256', 'unknown')}"]
            if not keys:
                return [*head, "  its run is not in the store: medtransfer import out"]
            return [*head, *_of_run(graph, keys[0], target="register")]
    raise TrackingError(f"{wanted!r}: there is no such registered version; medtransfer registry log {name}")


def _of_run(graph: Graph, key: str, *, target: str = "predict") -> list[str]:
    chain = graph.chain(key)
    lines = [f"run {_title(chain[-1])}", *_facts(chain[-1])]
    for run in reversed(chain[:-1]):
        lines += [f"from run {_title(run)}", *_facts(run)]
    for child in dict.fromkeys(graph.children(key)):
        lines.append(f"used by run {_title(graph.runs[child])}")
    made = [title for each in (key, *dict.fromkeys(graph.children(key))) for title in graph.models(each)]
    lines += [f"made model {title}" for title in dict.fromkeys(made)]
    return [*lines, "to make it again:", *(f"  {c}" for c in rebuild(chain, f"{target}@{chain[-1]['experiment']}"))]


def _of_data(graph: Graph, name: str, digest: str) -> list[str]:
    readers = [
        key for key, run in graph.runs.items() if (name, digest) in {(d["name"], d["digest"]) for d in run["datasets"]}
    ]
    lines = [f"data set {name} {digest}"]
    lines += [f"  read by run {_title(graph.runs[key])}" for key in readers]
    later = list(dict.fromkeys(child for key in readers for child in graph.children(key) if child not in readers))
    lines += [f"  then used by run {_title(graph.runs[key])}" for key in later]
    models = dict.fromkeys(title for key in (*readers, *later) for title in graph.models(key))
    lines += [f"  made model {title}" for title in models]
    return [*lines, "to make it again:", "  dvc pull data.dvc", f"  dvc repro prepare@{name}"]


def _title(run: dict[str, Any]) -> str:
    return f"{run['run_key'][:_SHORT]} {run['name']} ({run['status']})"


def _facts(run: dict[str, Any]) -> Iterator[str]:
    tags = run["tags"]
    for each in run["datasets"]:
        yield f"  data {each['name']} {each['digest']}"
    state = ", uncommitted changes" if is_dirty(run) else ""
    yield f"  commit {tags.get('git_commit', 'unknown')}{state}, profile {tags.get('profile', 'unknown')}"
    yield f"  parameters {tags.get('params_fingerprint', 'unknown')}, weights {tags.get('weights_sha256', 'not noted')}"
    yield f"  MLflow run {run['run_id']}"


def _is(wanted: str, *names: str | None) -> bool:
    return len(wanted) >= _SHORTEST and any(name.startswith(wanted) for name in names if name)


def _run(run: Any, homes: dict[str, str]) -> dict[str, Any]:
    tags = run.data.tags
    data = [each.dataset for each in run.inputs.dataset_inputs] if run.inputs else []
    return {
        "run_key": tags[RUN_KEY],
        "run_id": run.info.run_id,
        "name": tags.get("mlflow.runName", "").removeprefix(f"{tags[RUN_KEY][:CODE]} · "),
        "status": run.info.status,
        "experiment": homes[run.info.experiment_id],
        "tags": tags,
        "datasets": [{"name": each.name, "digest": each.digest} for each in data],
        "parents": [key for key in tags.get("parent_run", "").split(",") if key],
    }


def _pages(search: Any, *arguments: Any) -> Iterator[Any]:
    """Yield everything that a search finds, page by page."""
    token = None
    while True:
        page = search(*arguments, page_token=token)
        yield from page
        if not (token := page.token):
            return
