"""The fault-injection campaign: kill each verb at random moments, repeat it, compare bytes, runs and points.

``python benchmarks/kill_campaign.py --rounds 200 --seed 0`` writes ``benchmarks/results/kills.csv`` and ``kills.md``
after every round. A round of that seed that is in the file is not run again; each row has the commit of its code.
"""

import argparse
import csv
import importlib.util
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from harness import commit

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "kills.md"
ROUNDS = RESULTS.with_suffix(".csv")
COLUMNS = ("round", "seed", "verb", "after", "code", "differs", "commit")


def main() -> None:
    """Run the rounds and write their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    rounds, toys = (_load(ROOT / "tests" / name) for name in ("kill_rounds.py", "stages/conftest.py"))
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary, "work")
        work.mkdir()
        toy = toys.Toy(work)
        toy.write_params()
        toy.draw(counts=(8, 8, 8))
        campaign = rounds.Campaign(Path(temporary), ROOT / "src")
        campaign.prepare()
        done = read_rounds(options.seed)
        for number in range(len(done), options.rounds):
            found = campaign.round(number, options.seed)
            done.append(found | {"seed": options.seed, "differs": " ".join(found["differs"][:5]), "commit": commit()})
            write_rounds(done)
            RESULTS.write_text(table(done, options.seed), encoding="utf-8")
    sys.exit(any(each["differs"] for each in done))


def read_rounds(seed: int) -> list[dict[str, Any]]:
    """Return the rounds of a seed that are in the file, in their order."""
    if not ROUNDS.exists():
        return []
    with ROUNDS.open(newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = [dict(row) for row in csv.DictReader(file)]
    return [row | {"code": int(row["code"])} for row in rows if row["seed"] == str(seed)]


def write_rounds(done: list[dict[str, Any]]) -> None:
    """Write all rounds of one seed; those of another one are replaced."""
    with ROUNDS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(done)


def table(done: list[dict[str, Any]], seed: int) -> str:
    """Return the results as Markdown."""
    verbs = Counter(each["verb"] for each in done)
    killed = Counter(each["verb"] for each in done if each["code"] == -9)
    wrong = Counter(each["verb"] for each in done if each["differs"])
    lines = [
        "# Kills at random moments",
        "",
        f"`python benchmarks/kill_campaign.py --rounds {len(done)} --seed {seed}`: each verb is killed (SIGKILL) at a "
        "moment drawn uniformly from its running time, run again, and compared with a run that was not killed: bytes "
        "of all outputs without times, runs by name and status, points of every metric, versions and logged models. "
        f"Code: {', '.join(dict.fromkeys(each['commit'] for each in done))}.",
        "",
        "| verb | rounds | killed before its end | differing |",
        "|---|---|---|---|",
        *(f"| {verb} | {count} | {killed[verb]} | {wrong[verb]} |" for verb, count in verbs.items()),
        "",
        *(f"- round {e['round']}, {e['verb']} after {e['after']} s: {e['differs']}" for e in done if e["differs"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
