"""Hand-overs of a chain in numbers: what each step changed in the scores of the sources, and after fine-tuning."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from medtransfer.errors import DataError
from medtransfer.evaluation.checks import UndefinedMetricWarning
from medtransfer.evaluation.ranks import rank_correlation
from medtransfer.studies.attentive_transfer.paper.values import NO_TRANSFER, PAPER, Cell, printed
from medtransfer.studies.attentive_transfer.report.results import Grid, Measured, ReportSettings, paired

SCORES = {"leep_bits": "LEEP, bits", "nce": "NCE, nats", "logme": "LogME, nats"}
PRINTED_CHAINS = {"no_tl": NO_TRANSFER, "stl-n": "stl_n", "stl-n+stl-m": "stl_n-stl_m"}
"""Table 6's settings and the chains they stand for."""
KEY = ["network", "chain"]


def read_scores(path: Path) -> pd.DataFrame:
    """Read the score table that the transferability stage writes: a row a network, chain and fine-tuning seed.

    Raises:
        DataError: the file is missing or lacks a column.
    """
    if not path.is_file():
        raise DataError(f"{path}: no score table there; run the transferability stage first")
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    missing = {*KEY, "seed", "source_seed", "unavailable", *SCORES} - set(table)
    if missing:
        raise DataError(f"{path}: missing columns {', '.join(sorted(missing))}; run the transferability stage again")
    return table.assign(unavailable=table["unavailable"].astype(object).fillna(""))


def printed_leep() -> pd.DataFrame:
    """Return Table 6 of the paper: ``network, chain, paper``, in bits (M-13)."""
    raw = pd.read_csv(PAPER / "mstl_table6.csv")
    layers = raw["variant"].str.extract(r"(\d+)attn", expand=False).fillna("0")
    names = raw["network"] + raw["depth"].astype(str) + "_attn" + layers
    return pd.DataFrame({"network": names, "chain": raw["setting"].map(PRINTED_CHAINS), "paper": raw["value"]})


def hand_overs(scores: pd.DataFrame, grid: Grid, settings: ReportSettings) -> pd.DataFrame:
    """Return both of the paper's routes for every step of a chain: what the step changed, by fine-tuning and by score.

    A row a network and chain; the step is the chain's last. Columns: ``network, chain, before``; ``leep_bits, nce,
    logme``: mean over seeds of after − before (NaN = not available); ``mean, sd, low, high, low_seeds, high_seeds`` of
    the difference in test AUROC after fine-tuning; ``paper_leep, paper_auroc``: the paper's differences.
    """
    steps = _steps(settings)
    found = next(iter(step_gains(grid, settings).values()))
    frame = pd.DataFrame(steps, columns=[*KEY, "before"]).merge(found, "left", KEY)
    values = scores.set_index([*KEY, "seed"])[list(SCORES)].sort_index()
    changes = [_change(values, network, chain, before) for network, chain, before in steps]
    leep = printed_leep().set_index(KEY)["paper"]
    auroc = printed().query("metric == 'auroc'").drop_duplicates(KEY).set_index(KEY)["value"]
    theirs = {
        name: [paper.get((n, chain), np.nan) - paper.get((n, before), np.nan) for n, chain, before in steps]
        for name, paper in (("paper_leep", leep), ("paper_auroc", auroc))
    }
    return frame.join(pd.DataFrame(changes, columns=list(SCORES))).assign(**theirs)


def step_gains(grid: Grid, settings: ReportSettings) -> dict[str, pd.DataFrame]:
    """Return what every step changed in AUROC after fine-tuning, by data set: a row a network and chain.

    Columns: ``network, chain, mean, sd, low, high, low_seeds, high_seeds``.
    """
    pairs = [((network, chain), (network, before)) for network, chain, before in _steps(settings)]
    found = {name: paired(cells, pairs, settings) for name, cells in grid.items()}
    return {name: frame.query("metric == 'auroc'").drop(columns="metric") for name, frame in found.items()}


def correlations(scores: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """Return how each score ranks with the gain in test AUROC against no transfer: a pair a source model.

    The gain of a source is the mean over the fits that started from it: fits that share a score are no pairs of their
    own. Chains without transfer are left out: their gain is 0 by definition. Columns: ``score, kind`` (``kendall``,
    ``spearman``), ``value, pairs, p`` (NaN where there are fewer than four pairs, or no spread).
    """
    fits = scores.merge(_seed_gains(next(iter(grid.values()))), "inner", [*KEY, "seed"])
    table = fits.groupby([*KEY, "source_seed"])[[*SCORES, "gain"]].mean()
    rows = []
    for name in SCORES:
        pairs = table[[name, "gain"]].dropna()
        for kind in ("kendall", "spearman"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UndefinedMetricWarning)  # the table says n/a
                found = rank_correlation(pairs[name], pairs["gain"], kind=kind)
            rows.append({"score": name, "kind": kind} | vars(found))
    return pd.DataFrame(rows)


def _steps(settings: ReportSettings) -> list[tuple[str, str, str]]:
    """Return (network, chain, the chain without its last step) of every chain with a step."""
    return [
        (network, chain, chain.rpartition("-")[0] or NO_TRANSFER)
        for network in settings.networks
        for chain in settings.chains
        if chain != NO_TRANSFER
    ]


def _change(values: pd.DataFrame, network: str, chain: str, before: str) -> list[float]:
    """Return the mean over seeds of after − before of every score; NaN where one of them is not available."""
    scored = set(values.index.droplevel("seed"))
    if (network, chain) not in scored or (network, before) not in scored:
        return [np.nan] * len(SCORES)
    change = values.loc[(network, chain)] - values.loc[(network, before)]
    return [float(change[name].mean()) for name in SCORES]


def _seed_gains(cells: Mapping[Cell, Measured]) -> pd.DataFrame:
    """Return the gain of every fine-tuned fit against the one without transfer of the same network and seed."""
    rows = []
    for (network, chain), cell in cells.items():
        reference = cells.get((network, NO_TRANSFER))
        if chain == NO_TRANSFER or reference is None:
            continue
        gains = cell.samples["auroc"].points - reference.samples["auroc"].points
        rows += [(network, chain, seed, gain) for seed, gain in zip(cell.seeds, gains, strict=True)]
    return pd.DataFrame(rows, columns=[*KEY, "seed", "gain"])
