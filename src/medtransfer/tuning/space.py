"""From a search's space to validated parameters: suggestions, overlays, and checks before the first trial."""

import copy
import json
import random
from collections.abc import Mapping
from typing import Any

from medtransfer.config import fingerprint, flatten
from medtransfer.errors import ConfigError
from medtransfer.params import Params, parse_params
from medtransfer.tuning.config import Dimension, SearchConfig

Values = dict[str, Any]
"""Dotted key of params.yaml → value."""
PROBES = 200
"""Random points of a space of which one must be valid."""
PROBES_PER_END = 20


class Absent:
    """Stands for the value of a key that is not there."""


def suggest(trial: Any, space: Mapping[str, Dimension]) -> Values:
    """Return the values of a trial, asked from Optuna's trial key by key; a key whose condition fails has none."""
    values: Values = {}
    for key, dimension in space.items():
        if _active(dimension, values):
            values[key] = _suggest(trial, key, dimension)
    return values


def _suggest(trial: Any, key: str, dimension: Dimension) -> Any:
    if dimension.kind == "choice":
        words = [encode(choice) for choice in dimension.choices]
        return json.loads(trial.suggest_categorical(key, words))
    if dimension.kind == "int":
        low, high = dimension.ends
        return trial.suggest_int(key, low, high, step=dimension.step)
    return trial.suggest_float(key, dimension.low, dimension.high, log=dimension.kind == "log")


def encode(choice: Any) -> str:
    """Return a choice as the text that Optuna stores; ``json.loads`` reads it back."""
    return json.dumps(choice, sort_keys=True)


def decode(space: Mapping[str, Dimension], params: Mapping[str, Any]) -> Values:
    """Return what a stored trial set, from Optuna's parameters of it."""
    return {key: json.loads(v) if space[key].kind == "choice" else v for key, v in params.items() if key in space}


def _active(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    return all(key in values and values[key] in allowed for key, allowed in dimension.when.items())


def lay_over(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of nested parameters with other values under dotted keys.

    Raises:
        ConfigError: a key leads through something that is no mapping.
    """
    laid: dict[str, Any] = copy.deepcopy(dict(tree))
    for dotted, value in values.items():
        at = laid
        *above, last = split_key(laid, dotted)
        for part in above:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise ConfigError(f"{dotted}: {part} is no mapping in params.yaml, so the key is unknown; fix the key")
        at[last] = value
    return laid


def split_key(tree: Any, dotted: str) -> list[str]:
    """Return the parts of a dotted key; a name in the tree may hold dots itself, so the longest name wins."""
    parts, found = dotted.split("."), []
    while parts:
        names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
        name = next((n for n in names if isinstance(tree, Mapping) and n in tree), parts[0])
        found.append(name)
        tree, parts = tree[name] if isinstance(tree, Mapping) and name in tree else None, parts[name.count(".") + 1 :]
    return found


def look_up(tree: Any, dotted: str) -> Any:
    """Return the value under a dotted key, the class ``Absent`` when the tree has none."""
    for part in split_key(tree, dotted):
        if not isinstance(tree, Mapping) or part not in tree:
            return Absent
        tree = tree[part]
    return tree


def trial_params(tree: Mapping[str, Any], search: SearchConfig, values: Mapping[str, Any], seed: int) -> Params:
    """Return the validated parameters of one trial: params.yaml, ``fixed``, the trial's values, one seed.

    Raises:
        ConfigError: they are not valid; what a user may not write a trial may not set.
    """
    laid = lay_over(tree, dict(search.fixed) | dict(values))
    seeds = [key for key in laid.get(search.study, {}) if key == "seeds" or key.endswith("_seeds")]
    return parse_params(lay_over(laid, {f"{search.study}.{key}": [seed] for key in seeds}))


def check_space(name: str, tree: Mapping[str, Any], search: SearchConfig) -> None:
    """Refuse a search before its first trial: an unknown key, a range that leads out, a space without a valid point.

    Raises:
        ConfigError: one line with the search, the key and the reason.
    """
    where = f"tuning.{name}"
    if reason := _invalid(tree, search, {}):
        raise ConfigError(f"{where}.fixed: {reason}")
    generator = random.Random(0)
    points = [_draw(search.space, generator) for _ in range(PROBES)]
    for key, dimension in search.space.items():
        having = [point for point in points if key in point][:PROBES_PER_END]
        if not having:
            raise ConfigError(f"{where}.space.{key}: its condition never holds; fix when")
        alone = {other: having[0][other] for other in dimension.when}
        for end in dimension.ends:
            reason = _invalid(tree, search, alone | {key: end})
            if reason and all(_invalid(tree, search, point | {key: end}) for point in having):
                raise ConfigError(f"{where}.space.{key}: {end!r} is never valid ({reason}); fix the key or its values")
    reasons = [_invalid(tree, search, point) for point in points]
    if all(reasons):
        raise ConfigError(f"{where}.space: no trial can satisfy it ({reasons[0]}); change the space or fixed")


def _invalid(tree: Mapping[str, Any], search: SearchConfig, values: Mapping[str, Any]) -> str:
    try:
        trial_params(tree, search, values, search.seed)
    except ConfigError as error:
        return str(error)
    return ""


def _draw(space: Mapping[str, Dimension], generator: random.Random) -> Values:
    values: Values = {}
    for key, dimension in space.items():
        if not _active(dimension, values):
            continue
        if dimension.kind == "choice":
            values[key] = generator.choice(dimension.choices)
        elif dimension.kind == "int":
            low, high = dimension.ends
            values[key] = generator.randrange(low, high + 1, dimension.step)
        else:
            low, high = dimension.ends
            logarithmic, share = dimension.kind == "log", generator.random()
            values[key] = low * (high / low) ** share if logarithmic else low + (high - low) * share
    return values


def base_of(tree: Mapping[str, Any], search: SearchConfig) -> Values:
    """Return the parameters that all trials share, flat: of the study and the hardware, without what a trial sets.

    Keys of ``fixed`` have its values.
    """
    laid = lay_over(tree, search.fixed)
    kept = {name: laid[name] for name in (search.study, "hardware") if name in laid}
    flat = flatten(_jsonable(kept))
    own = tuple(f"{key}." for key in search.space)
    return {key: value for key, value in flat.items() if not f"{key}.".startswith(own) and not _is_seed(key)}


def _is_seed(key: str) -> bool:
    last = key.rpartition(".")[2]
    return last == "seeds" or last.endswith("_seeds")


def _jsonable(tree: Any) -> Any:
    return json.loads(json.dumps(tree, default=str))


def space_hash(search: SearchConfig, base: Mapping[str, Any], data: Mapping[str, str]) -> str:
    """Return the identity of a search: definition without budget, shared parameters, content hashes of the data."""
    definition = search.model_dump(mode="json", exclude={"budget", "former", "memory_gb"})
    return fingerprint({"definition": definition, "base": dict(base), "data": dict(data)})
