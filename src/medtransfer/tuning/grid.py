"""Every point of a small grid, through Optuna's grid sampler. A leaf: studies use it inside their fit stages."""

from collections.abc import Mapping, Sequence
from itertools import product


def grid(space: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    """Return every combination of the values in the order of ``space``, the last key fastest; values are unchanged.

    Args:
        space: name → its values.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.GridSampler({name: list(values) for name, values in space.items()}, seed=0)
    study = optuna.create_study(sampler=sampler)
    ordered = [dict(zip(space, point, strict=True)) for point in product(*space.values())]
    proposed = []
    for _ in ordered:
        trial = study.ask()
        proposed.append({name: trial.suggest_float(name, min(v), max(v)) for name, v in space.items()})
    return sorted(proposed, key=ordered.index)
