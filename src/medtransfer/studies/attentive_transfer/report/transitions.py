"""Transitions of a chain in numbers: the effect of each step on the scores of the sources, and after fine-tuning."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from medtransfer.errors import DataError
from medtransfer.evaluation.cells import Cells, Key, Row
from medtransfer.evaluation.checks import UndefinedMetricWarning
from medtransfer.evaluation.claims import combine
from medtransfer.evaluation.ranks import rank_correlation
from medtransfer.studies.attentive_transfer.claims import printed_auroc
from medtransfer.studies.attentive_transfer.paper.values import NO_TRANSFER, PAPER
from medtransfer.studies.attentive_transfer.report.results import Results

SCORES = {"leep_bits": "LEEP, bits", "nce": "NCE, nats", "logme": "LogME, nats"}
PRINTED_CHAINS = {"no_tl": NO_TRANSFER, "stl-n": "stl_n", "stl-n+stl-m": "stl_n-stl_m"}
"""Setting in Table 6 → chain."""
KEY = ["network", "chain"]


def read_scores(path: Path) -> pd.DataFrame:
    """Read the score table that the transferability stage writes: one row per network, chain and fine-tuning seed.

    Raises:
        DataError: the file is missing or lacks a column.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no score table; run the transferability stage first")
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    missing = {*KEY, "seed", "source_seed", "unavailable", *SCORES} - set(table)
    if missing:
        raise DataError(f"{path}: missing columns {', '.join(sorted(missing))}; run the transferability stage again")
    return table.assign(unavailable=table["unavailable"].astype(object).fillna(""))


def printed_leep() -> dict[Key, float]:
    """Return Table 6 of the paper by (network, chain), in bits (M-13)."""
    raw = pd.read_csv(PAPER / "mstl_table6.csv")
    layers = raw["variant"].str.extract(r"(\d+)attn", expand=False).fillna("0")
    names = raw["network"] + raw["depth"].astype(str) + "_attn" + layers
    return dict(zip(zip(names, raw["setting"].map(PRINTED_CHAINS), strict=True), raw["value"], strict=True))


def transitions(scores: pd.DataFrame, results: Results) -> list[Row]:
    """Return both of the paper's routes for every step of a chain: its effect by score and by fine-tuning.

    One row per network and chain; the step is the chain's last. ``network, chain, before``; ``leep_bits, nce, logme``:
    mean over seeds of after − before (NaN = not available); ``gains``: data set → difference in test AUROC after
    fine-tuning (None = not run), the own test set first; ``paper_leep, paper_auroc``: the paper's differences (NaN =
    not printed).
    """
    steps = _steps(results)
    pairs = [((network, chain), (network, before)) for network, chain, before in steps]
    gains = {name: results.gains(pairs, dataset=name) for name in results.grid}
    values = scores.set_index([*KEY, "seed"])[list(SCORES)].sort_index()
    printed = {"paper_leep": printed_leep(), "paper_auroc": printed_auroc()}
    return [
        {"network": network, "chain": chain, "before": before}
        | _change(values, network, chain, before)
        | {"gains": {name: rows.get((network, chain, "auroc")) for name, rows in gains.items()}}
        | {
            name: paper.get((network, chain), np.nan) - paper.get((network, before), np.nan)
            for name, paper in printed.items()
        }
        for network, chain, before in steps
    ]


def correlations(scores: pd.DataFrame, cells: Cells) -> pd.DataFrame:
    """Return the rank correlation of each score with the gain in test AUROC over no transfer: one pair per source.

    The gain of a source is the mean over the fits that started from it: fits that share a score are not separate
    pairs. Chains without transfer are left out because their gain is 0 by definition. Columns: ``score, kind``
    (``kendall``, ``spearman``), ``value, pairs, p`` (NaN with fewer than four pairs, or no spread).
    """
    fits = scores.merge(_seed_gains(cells), "inner", [*KEY, "seed"])
    table = fits.groupby([*KEY, "source_seed"])[[*SCORES, "gain"]].mean()
    rows = []
    for name in SCORES:
        pairs = table[[name, "gain"]].dropna()
        for kind in ("kendall", "spearman"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UndefinedMetricWarning)  # the table says n/a
                correlation = rank_correlation(pairs[name], pairs["gain"], kind=kind)
            rows.append({"score": name, "kind": kind} | vars(correlation))
    return pd.DataFrame(rows)


def _steps(results: Results) -> list[tuple[str, str, str]]:
    """Return (network, chain, chain without its last step) for every chain with a step."""
    return [
        (network, chain, chain.rpartition("-")[0] or NO_TRANSFER)
        for network, chain in results.wanted
        if chain != NO_TRANSFER
    ]


def _change(values: pd.DataFrame, network: str, chain: str, before: str) -> dict[str, float]:
    """Return the mean over seeds of after − before of every score; NaN where one of them is not available."""
    scored = set(values.index.droplevel("seed"))
    if (network, chain) not in scored or (network, before) not in scored:
        return dict.fromkeys(SCORES, np.nan)
    change = values.loc[(network, chain)] - values.loc[(network, before)]
    return {name: float(change[name].mean()) for name in SCORES}


def _seed_gains(cells: Cells) -> pd.DataFrame:
    """Return the gain of every fine-tuned fit against the one without transfer of the same network and seed."""
    rows = []
    for (network, chain), cell in cells.items():
        if chain != NO_TRANSFER and (network, NO_TRANSFER) in cells:
            gain = combine({(network, chain): 1.0, (network, NO_TRANSFER): -1.0}, cells, "auroc")
            rows += [(network, chain, seed, point) for seed, point in zip(cell.seeds, gain.points, strict=True)]
    return pd.DataFrame(rows, columns=[*KEY, "seed", "gain"])
