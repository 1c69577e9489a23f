"""Every verb that writes, on a file system that is really full: one line and exit code 2, and the same outputs later.

``python benchmarks/full_disk.py FOLDER --rounds 64``: FOLDER is an empty folder on a small file system of its own, for
example ``mount -t tmpfs -o size=400m tmpfs FOLDER``. Each round fills it until a part of what the verb needs is left,
runs the verb, makes room, runs it again and compares with a run that had room.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from harness import commit
from kill_campaign import ROOT, _load

RESULTS = ROOT / "benchmarks" / "results" / "full_disk.md"
BALLAST = "ballast"


def main() -> None:
    """Run the rounds and write their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    require_own_file_system(options.folder)
    sys.path.insert(0, str(ROOT / "tests"))
    rounds, toys = (_load(ROOT / "tests" / name) for name in ("kill_rounds.py", "stages/conftest.py"))
    with tempfile.TemporaryDirectory() as temporary:
        campaign = rounds.Campaign(Path(temporary), ROOT / "src")
        campaign.work = options.folder / "work"
        campaign.work.mkdir()
        (options.folder / "tmp").mkdir(exist_ok=True)
        os.environ["TMPDIR"] = str(options.folder / "tmp")
        toy = toys.Toy(campaign.work)
        toy.write_params()
        toy.draw(counts=(8, 8, 8))
        campaign.prepare()
        done = [fill(campaign, rounds.VERBS, number, options) for number in range(options.rounds)]
        RESULTS.write_text(table(done, options), encoding="utf-8")
    print(*(row for row in done if row["fault"]), sep="\n")
    sys.exit(any(row["fault"] for row in done))


def require_own_file_system(folder: Path) -> None:
    """Refuse a folder on the file system of its parent: filling that one would harm others."""
    if not folder.is_dir() or folder.stat().st_dev == folder.parent.stat().st_dev:
        sys.exit(f"{folder}: no folder on a file system of its own; mount a small one there first")


def fill(campaign: Any, verbs: dict[str, list[str]], number: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run a verb with a drawn part of the room that it needs, then with room, and return what is wrong with it."""
    draw, name = random.Random(f"{options.seed} {number}"), campaign.verbs[number % len(campaign.verbs)]
    shutil.rmtree(campaign.work)
    shutil.copytree(campaign.kept / name, campaign.work, symlinks=True)
    left = int(draw.uniform(0, grown(campaign.kept, name, campaign.verbs)))
    ballast = options.folder / BALLAST
    write_ballast(ballast, left)
    first = campaign.start(verbs[name], stderr=subprocess.PIPE)
    said = first.communicate()[1].decode(errors="replace")
    ballast.unlink()
    for path in (options.folder / "tmp").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    lines = [line for line in said.splitlines() if line.startswith("medtransfer: ")]
    told = first.returncode == 2 and len(lines) == 1 and "room" in lines[0]
    fault = "" if first.returncode == 0 or told else said[-600:]
    campaign.run(verbs[name])
    found, whole = campaign.state(), campaign.whole[name]
    if differs := sorted(key for key in found.keys() | whole.keys() if found.get(key) != whole.get(key)):
        fault += f" differs: {' '.join(differs[:5])}"
    return {"verb": name, "left": left, "code": first.returncode, "fault": fault}


def grown(kept: Path, name: str, verbs: tuple[str, ...]) -> int:
    """Return the bytes that a verb adds to the workspace; of the last verb, those of the one before it."""
    place = min(verbs.index(name), len(verbs) - 2)
    return max(size(kept / verbs[place + 1]) - size(kept / verbs[place]), 1 << 15)


def size(folder: Path) -> int:
    """Return the bytes of a folder, a file with several names once."""
    files = {(stat.st_dev, stat.st_ino): stat.st_blocks * 512 for path in folder.rglob("*") if (stat := path.lstat())}
    return sum(files.values())


def write_ballast(path: Path, left: int) -> None:
    """Fill the file system until ``left`` bytes are free."""
    with path.open("wb") as file:
        while (free := shutil.disk_usage(path.parent).free - left) > 0:
            try:
                file.write(bytes(min(free, 1 << 20)))
                file.flush()
            except OSError:
                return


def table(done: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """Return the rounds as Markdown."""
    verbs = list(dict.fromkeys(row["verb"] for row in done))
    kinds = {
        "all": done,
        "full": [row for row in done if row["code"]],
        "faults": [row for row in done if row["fault"]],
    }
    count = {kind: Counter(row["verb"] for row in rows) for kind, rows in kinds.items()}
    lines = [
        "# A file system that is full",
        "",
        f"`python benchmarks/full_disk.py FOLDER --rounds {options.rounds} --seed {options.seed}` on a file system of "
        f"{shutil.disk_usage(options.folder).total >> 20} MiB: each verb has a drawn part of the room that it needs, "
        "then enough. A fault is anything but one line with exit code 2, or outputs that differ afterwards from those "
        "of a run that had room. "
        f"Code: {commit()}.",
        "",
        "| verb | rounds | ended for want of room | faults |",
        "|---|---|---|---|",
        *(f"| {verb} | {count['all'][verb]} | {count['full'][verb]} | {count['faults'][verb]} |" for verb in verbs),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
