"""Rounds of a fault-injection campaign: a verb is killed at a random moment, repeated, and compared with a whole run.

``tests/stages/test_kills.py`` runs a handful, ``benchmarks/kill_campaign.py`` as many as asked for.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

STUDY, NETWORK = "attentive_transfer", "resnet18_attn1"
VERBS = {
    "prepare": ["prepare", "ct"],
    "gate": ["gate"],
    "fit": ["fit", STUDY, "finetune", NETWORK],
    "predict": ["predict", STUDY],
    "score": ["score", STUDY],
    "audit": ["audit", STUDY],
    "register": ["register", STUDY],
    "evaluate": ["evaluate", "--model", "models:/covid-ct@champion", "--manifest", "data/ct/labels.csv"],
}
BEFORE = {"fit": [["fit", STUDY, "start", NETWORK]]}
"""Verbs that make what a verb needs and that no verb above makes."""
UNEQUAL = ("seconds", "per_second", "system/", "memory")
"""Parts of the names of metrics whose number of points depends on time."""


class Campaign:
    """A toy workspace in one place, with what every verb found there before and left behind after a whole run."""

    def __init__(self, folder, source, *, verbs=tuple(VERBS)):
        self.work, self.kept, self.source, self.verbs = folder / "work", folder / "kept", source, verbs
        self.seconds, self.whole = {}, {}

    def prepare(self):
        """Run every verb to its end, keep the workspace before it, and note how long it takes and what it leaves."""
        for name, words in VERBS.items():
            for first in BEFORE.get(name, []):
                self.run(first)
            shutil.copytree(self.work, self.kept / name, symlinks=True)
            begun = time.monotonic()
            self.run(words)
            self.seconds[name] = time.monotonic() - begun
            self.whole[name] = self.state()
            if name == self.verbs[-1]:
                break

    def round(self, number, seed):
        """Kill a verb at a moment that the seed chooses, run it again, and return what differs from a whole run."""
        draw = random.Random(f"{seed} {number}")
        name = self.verbs[number % len(self.verbs)]
        after = draw.uniform(0, self.seconds[name])
        shutil.rmtree(self.work)
        shutil.copytree(self.kept / name, self.work, symlinks=True)
        killed = self.start(VERBS[name])
        try:
            killed.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        self.run(VERBS[name])
        found, whole = self.state(), self.whole[name]
        different = sorted(key for key in found.keys() | whole.keys() if found.get(key) != whole.get(key))
        return {
            "round": number,
            "verb": name,
            "after": round(after, 2),
            "code": killed.returncode,
            "differs": different,
        }

    def start(self, words, **options):
        threads = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONHASHSEED": "0"}
        places = {"DVC_ROOT": str(self.work), "PYTHONPATH": str(self.source)}
        environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | threads | places
        command = [sys.executable, "-m", "medtransfer", *words]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
        return subprocess.Popen(command, cwd=self.work, env=environment, start_new_session=True, **pipes)

    def run(self, words):
        done = self.start(words, stderr=subprocess.PIPE)
        _, said = done.communicate()
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: exit code {done.returncode}: {said.decode()[-2000:]}")

    def state(self):
        """Return hashes of all outputs that do not hold times, and the runs, points and versions of the store."""
        files = [path for top in ("out", "metrics") for path in (self.work / top).rglob("*") if path.is_file()]
        state = {
            path.relative_to(self.work).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if "records" not in path.parts and path.name != "champions.json"
        }
        state["champions"] = [
            (row["variant"], row["condition"], row["seed"], row["alias"], row["version"])
            for file in files
            if file.name == "champions.json"
            for row in json.loads(file.read_text())
        ]
        return state | self.tracked()

    def tracked(self):
        """Return the number of runs by name and status, of points by metric, and of versions and logged models.

        Read off the file itself: MLflow keeps databases open, also those whose file was replaced.
        """
        file = self.work / "mlflow.db"
        if not file.exists():
            return {}
        with contextlib.closing(sqlite3.connect(file)) as store:
            runs = store.execute(
                "SELECT name, status FROM runs WHERE lifecycle_stage = 'active' ORDER BY 1, 2"
            ).fetchall()
            points = store.execute(
                "SELECT runs.name, key, count(*) FROM metrics JOIN runs USING (run_uuid) GROUP BY runs.name, key"
            ).fetchall()
            versions = store.execute("SELECT name, version FROM model_versions ORDER BY 1, 2").fetchall()
            models = store.execute("SELECT count(*) FROM logged_models WHERE lifecycle_stage = 'active'").fetchone()
        # a run's own code begins its name, and is another one after a kill before the run began
        runs = sorted((name.partition(" · ")[2], status) for name, status in runs)
        points = [(name.partition(" · ")[2], key, n) for name, key, n in points]
        counted = {f"{run} {key}": n for run, key, n in points if not any(part in key for part in UNEQUAL)}
        return {"runs": runs, "versions": versions, "logged models": models} | counted
