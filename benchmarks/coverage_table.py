"""The table of simulated coverage: ``results/coverage.csv``, to which pieces are added, and ``coverage.md`` from it."""

import csv
import fcntl
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
KEY = ("balance", "patients", "auroc", "metric", "of", "method")
NUMBERS = ("repetitions", "covered", "width")
METHODS = ("percentile", "BCa", "bootstrap-t", "linearised variance", "bootstrap variance", "in use")
GOAL = (0.92, 0.98)
Rows = dict[tuple[Any, ...], tuple[int, int, float]]
"""``KEY`` → repetitions, covered, sum of widths."""


def read() -> Rows:
    """Return what was simulated so far."""
    path = RESULTS / "coverage.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    return {
        (int(r["balance"]), int(r["patients"]), float(r["auroc"]), r["metric"], r["of"], r["method"]): (
            int(r["repetitions"]),
            int(r["covered"]),
            float(r["width"]),
        )
        for r in rows
    }


def write(more: Rows, about: str) -> None:
    """Add a piece, and write both files."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "coverage.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = read()
        for key, numbers in more.items():
            before = rows.get(key, (0, 0, 0.0))
            rows[key] = (before[0] + numbers[0], before[1] + numbers[1], before[2] + numbers[2])
        fresh = RESULTS / "coverage.csv.part"
        with fresh.open("w", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow((*KEY, *NUMBERS))
            writer.writerows((*key, n, hits, round(width, 6)) for key, (n, hits, width) in sorted(rows.items()))
        fresh.rename(RESULTS / "coverage.csv")
    (RESULTS / "coverage.md").write_text(markdown(rows, about), encoding="utf-8")


def fewest(rows: Rows, metric: str, of: str, method: str) -> int | None:
    """Return the number of patients from which every setting has its coverage in the goal, None where there is none.

    A setting counts as out of the goal only where chance in the simulation (two standard errors) does not explain it.
    """
    good = None
    sizes = sorted({key[1] for key in rows if key[3:] == (metric, of, method)}, reverse=True)
    for size in sizes:
        shares = [
            (hits / n, n) for key, (n, hits, _) in rows.items() if key[1] == size and key[3:] == (metric, of, method)
        ]
        if not all(
            GOAL[0] - 2 * (0.08 * 0.92 / n) ** 0.5 <= s <= GOAL[1] + 2 * (0.02 * 0.98 / n) ** 0.5 for s, n in shares
        ):
            break
        good = size
    return good


def markdown(rows: Rows, about: str) -> str:
    """Return the tables: smallest numbers of patients, and coverage by setting."""
    pairs = list(dict.fromkeys(key[3:5] for key in sorted(rows, key=lambda key: (key[4], key[3]))))
    lines = ["# Coverage of 95 % intervals", "", about, "", "## Patients of the smaller class that a method needs", ""]
    lines += [
        "Smallest number from which on every setting has a coverage of 92 to 98 % (two standard errors of the "
        "simulation allowed for); “—” where there is none.",
        "",
        f"| metric | of | {' | '.join(METHODS)} |",
        f"|---|---|{'---|' * len(METHODS)}",
    ]
    for metric, of in pairs:
        found = [fewest(rows, metric, of, method) for method in METHODS]
        lines.append(f"| {metric} | {of} | {' | '.join(str(one) if one else '—' for one in found)} |")
    for metric, of in pairs:
        lines += ["", f"## {metric}, {of}", "", "Per cent covered, mean width below 1.", ""]
        lines += [f"| balance | patients | AUROC | repetitions | {' | '.join(METHODS)} | width in use |"]
        lines += [f"|{'---|' * (len(METHODS) + 5)}"]
        for setting in sorted({key[:3] for key in rows if key[3:5] == (metric, of)}):
            cells = [rows.get((*setting, metric, of, method)) for method in METHODS]
            shares = [f"{100 * one[1] / one[0]:.1f}" if one else "—" for one in cells]
            last = cells[-1] or (1, 0, float("nan"))
            names = (f"1 : {setting[0]}", str(setting[1]), f"{setting[2]:g}", str(last[0]))
            lines.append(f"| {' | '.join((*names, *shares))} | {last[2] / last[0]:.3f} |")
    return "\n".join([*lines, ""])
