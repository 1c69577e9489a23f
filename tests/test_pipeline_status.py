"""What an edit concerns, as ``dvc status`` tells it: nothing runs again that need not.

The pipeline is set up in a copy of the repository with made-up outputs, committed as if every stage had run.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from medtransfer.studies import STUDIES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
EDITED = ("src", "params.yaml", "dvc.yaml", "out/gate", "out/code")
"""What tests change in the copy; undone after each."""
FIT = "fit-attentive_transfer-"
FINISHED = ("fit-", "predict", "transferability", "explain", "measure", "score")
"""Prefixes of the stages whose results take long to compute."""


class Copy:
    """A copy of code and pipeline, in which every stage is up to date."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
            shutil.copy(ROOT / name, folder / name)
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / "src" / "medtransfer", folder / "src" / "medtransfer", ignore=ignored)
        self.run("dvc", "init", "--no-scm", "-q")
        self.run("dvc", "config", "core.analytics", "false")
        self.run("medtransfer", "code")
        self.make_up()
        self.run("dvc", "commit", "-f", "-q")

    def make_up(self):
        """Write raw data and every output; existing files stay."""
        for dataset in self.params()["datasets"].values():
            self.fill(dataset["source"]["root"])
        with self.repo() as repo:
            self.stages = {stage.name for stage in repo.index.stages}
            for out in (out for stage in repo.index.stages for out in stage.outs):
                self.fill(os.path.relpath(out.fs_path, self.folder))
        self.fill("out/gate", ["report.json"])
        for kind, names in (("datasets", self.params()["datasets"]), ("chains", STUDIES), ("studies", STUDIES)):
            self.fill(f"out/gate/{kind}", [f"{name}.json" for name in names])

    def fill(self, path, names=("content.txt",)):
        """Make a file, or a folder with files, that says its own name."""
        target = self.folder / path
        files = (
            [target] if target.suffix in (".parquet", ".json", ".csv", ".html", ".md") else map(target.joinpath, names)
        )
        for file in files:
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(str(file.relative_to(self.folder)), encoding="utf-8")

    def repo(self):
        from dvc.repo import Repo

        return Repo(str(self.folder))

    def run(self, *words):
        known = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
        environment = known | {"PYTHONPATH": str(self.folder / "src"), "DVC_NO_ANALYTICS": "true"}
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def concerned(self):
        """Stages that would run again once the tokens of the code have been written again, as ``code`` always does."""
        self.run("medtransfer", "code")
        with self.repo() as repo:
            return {address.rpartition(":")[2] for address in repo.status()} - {"code"}

    def finished(self):
        """The concerned of the stages that had results before."""
        return {name for name in self.concerned() & self.stages if name.startswith(FINISHED)}

    def params(self):
        return yaml.safe_load((self.folder / "params.yaml").read_text(encoding="utf-8"))

    def write_params(self, tree):
        (self.folder / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")

    def append(self, file, text="\n# another line\n"):
        path = self.folder / "src" / "medtransfer" / file
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    def replace(self, file, old, new):
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    return Copy(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(committed, tmp_path):
    """The committed copy; edits are undone afterwards."""
    for name in EDITED:
        copy(committed.folder / name, tmp_path / name)
    yield committed
    for name in EDITED:
        copy(tmp_path / name, committed.folder / name)


def copy(source, target):
    if source.is_file():
        shutil.copy(source, target)
        return
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def test_nothing_is_concerned_at_first(project):
    assert len(project.stages) > 20
    assert project.concerned() == set()


def test_a_typo_in_a_study_s_card_concerns_nothing(project):
    for study in STUDIES:
        project.append(f"studies/{study}/README.md", "A typo.\n")
    assert project.concerned() == set()


@pytest.mark.parametrize("study", STUDIES)
def test_claims_tables_and_printed_values_concern_the_study_s_report_alone(project, study):
    folder = project.folder / "src/medtransfer/studies" / study
    files = [file for file in ("claims.py", "report/tables.py", "report/paper_tables.py") if (folder / file).exists()]
    for file in (*files, "paper/values.py"):
        project.append(f"studies/{study}/{file}")
    assert project.concerned() == {f"report@{study}"}


def test_a_loss_concerns_exactly_the_fits_that_use_it(project):
    project.append("losses/contrastive.py")
    fits = {name for name in project.stages if name.startswith((f"{FIT}sstl_m@", f"{FIT}methods@"))}
    assert fits
    assert project.concerned() == fits


def test_verbs_and_tracking_concern_no_fit_and_no_prediction(project):
    project.append("cli.py")
    project.append("tracking/shipping.py")
    assert {name.partition("@")[0] for name in project.concerned()} <= {"score", "register", "report", "overview"}


def test_a_new_data_set_concerns_no_fit_and_no_prediction(project):
    """The gate runs again and writes one more token; those of the others stay as they were.

    Scoring reads of every data set whether it is drawn, for the descriptions in the tracker.
    """
    tree = project.params()
    tree["datasets"]["another"] = tree["datasets"]["ct"]
    project.write_params(tree)
    project.fill("out/gate/datasets", ["another.json"])
    project.replace("out/gate/report.json", "report", "another report")
    assert "prepare@another" in project.concerned()
    assert project.finished() == {f"score@{study}" for study in STUDIES}


def test_a_new_study_concerns_nothing_that_is_finished(project):
    source = project.folder / "src/medtransfer/studies"
    shutil.copytree(source / "truncated_transfer", source / "third")
    for file in (source / "third").rglob("*.py"):
        file.write_text(file.read_text(encoding="utf-8").replace("truncated_transfer", "third"), encoding="utf-8")
    line = '    "truncated_transfer",\n'
    project.replace("src/medtransfer/studies/__init__.py", line, f'{line}    "third",\n')
    project.replace("dvc.yaml", f"&studies [{', '.join(STUDIES)}]", f"&studies [{', '.join(STUDIES)}, third]")
    tree = project.params()
    project.write_params(tree | {"third": tree["truncated_transfer"]})
    assert {"predict@third", "score@third", "register@third", "report@third"} <= project.concerned()
    assert project.finished() == set()
