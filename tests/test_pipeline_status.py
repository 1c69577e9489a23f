"""What an edit concerns, as ``dvc status`` tells it: nothing runs again that need not.

The pipeline is set up in a copy of the repository with made-up outputs, committed as if every stage had run.
"""

import json
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
FIT = "fit-attentive_transfer-"
FINISHED = ("fit-", "predict", "transferability", "explain", "measure", "score")


class Copy:
    """A copy of code and pipeline, in which every stage is up to date."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
            shutil.copy(ROOT / name, folder / name)
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / "src" / "medtransfer", folder / "src" / "medtransfer", ignore=ignored)
        self.environment = os.environ | {"PYTHONPATH": str(folder / "src"), "DVC_NO_ANALYTICS": "true"}
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment.pop("DVC_ROOT", None)
        self.dvc("init", "--no-scm", "-q")
        self.dvc("config", "core.analytics", "false")
        for dataset in self.params()["datasets"].values():
            self.fill(dataset["source"]["root"])
        self.dvc("repro", "-q", "code")
        for out in self.outs():
            self.fill(out)
        self.fill("out/gate", ["report.json"])
        for kind, names in (("datasets", self.params()["datasets"]), ("chains", STUDIES), ("studies", STUDIES)):
            self.fill(f"out/gate/{kind}", [f"{name}.json" for name in names])
        self.dvc("commit", "-f", "-q")

    def params(self):
        return yaml.safe_load((self.folder / "params.yaml").read_text(encoding="utf-8"))

    def write_params(self, tree):
        (self.folder / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")

    def outs(self):
        from dvc.repo import Repo

        with Repo(str(self.folder)) as repo:
            return [os.path.relpath(out.fs_path, self.folder) for stage in repo.index.stages for out in stage.outs]

    def fill(self, path, names=("content.txt",)):
        """Make a file, or a folder with files, that says its own name; what is there stays."""
        target = self.folder / path
        files = [target] if target.suffix and "/weights/" not in path and "/records/" not in path else []
        for file in files or [target / name for name in names]:
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(str(file.relative_to(self.folder)), encoding="utf-8")

    def dvc(self, *words):
        command, options = [sys.executable, "-m", "dvc", *words], {"capture_output": True, "text": True, "check": False}
        done = subprocess.run(command, cwd=self.folder, env=self.environment, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def concerned(self):
        """Stages that would run again, once the tokens of the code have been written again."""
        self.dvc("repro", "-q", "code")
        return set(json.loads(self.dvc("status", "--json")))

    def append(self, file, text="\n# another line\n"):
        path = self.folder / "src" / "medtransfer" / file
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    return Copy(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(committed, tmp_path):
    """The committed copy; edits of source and parameters are taken back afterwards."""
    shutil.copytree(committed.folder / "src", tmp_path / "src")
    shutil.copy(committed.folder / "params.yaml", tmp_path / "params.yaml")
    yield committed
    shutil.rmtree(committed.folder / "src")
    shutil.copytree(tmp_path / "src", committed.folder / "src")
    shutil.copy(tmp_path / "params.yaml", committed.folder / "params.yaml")


def test_nothing_is_concerned_at_first(project):
    assert project.concerned() == set()


@pytest.mark.parametrize("study", ["attentive_transfer", "truncated_transfer"])
def test_a_card_concerns_nothing(project, study):
    project.append(f"studies/{study}/README.md", "A typo.\n")
    assert project.concerned() == set()


@pytest.mark.parametrize("file", ["claims.py", "report/tables.py", "paper/values.py"])
def test_a_claim_or_table_concerns_its_report_alone(project, file):
    project.append(f"studies/truncated_transfer/{file}")
    assert project.concerned() == {"report@truncated_transfer"}


def test_a_loss_concerns_exactly_the_fits_that_use_it(project):
    project.append("losses/contrastive.py")
    concerned = project.concerned()
    assert concerned
    assert {name.split("@")[0] for name in concerned} == {f"{FIT}sstl_m", f"{FIT}methods"}


def test_a_new_verb_or_a_change_of_tracking_concerns_no_fit_and_no_prediction(project):
    project.append("cli.py")
    project.append("tracking/shipping.py")
    assert not {name for name in project.concerned() if name.startswith(("fit-", "predict", "explain", "measure"))}


def test_a_new_data_set_concerns_no_fit_and_no_prediction(project):
    tree = project.params()
    tree["datasets"]["another"] = tree["datasets"]["ct"]
    project.write_params(tree)
    project.fill("out/datasets/another")
    concerned = project.concerned()
    shutil.rmtree(project.folder / "out/datasets/another")
    assert "gate" in concerned
    assert not {name for name in concerned if name.startswith(FINISHED)}


def test_a_new_study_concerns_nothing_that_is_finished(project):
    source = project.folder / "src/medtransfer/studies"
    shutil.copytree(source / "truncated_transfer", source / "third")
    for file in (source / "third").rglob("*.py"):
        file.write_text(file.read_text(encoding="utf-8").replace("truncated_transfer", "third"), encoding="utf-8")
    table = source / "__init__.py"
    text = table.read_text(encoding="utf-8")
    line = '    "truncated_transfer",\n'
    table.write_text(text.replace(line, f'{line}    "third",\n'), encoding="utf-8")
    tree = project.params()
    project.write_params(tree | {"third": tree["truncated_transfer"]})
    assert not {name for name in project.concerned() if name.startswith(FINISHED)}
