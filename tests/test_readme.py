"""Everything that README.md and docs/ name exists, and the cheap commands of their code blocks work."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from medtransfer.cli import build_parser, run

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = {page: re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL) for page in PAGES}
COMMANDS = [
    (page.name, part.split("#")[0].strip())
    for page, blocks in CODE.items()
    for block in blocks
    for line in block.splitlines()
    for part in line.split("&&")
    if part.split("#")[0].strip()
]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_the_front_page_is_short_and_its_diagram_and_picture_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 720
    assert "```mermaid\nflowchart" in text
    assert len(re.findall(r"!\[[^]]+\]\(docs/images/", text)) == 1


def test_every_verb_in_the_diagram_exists():
    (diagram,) = re.findall(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    known = {*build_parser()._actions[-1].choices, "pretrain", "finetune"}
    named = set(re.findall(r"\b[a-z]+\b(?=[ \n\[{])", re.sub(r"[\[{].*?[\]}]", "", diagram).partition("\n")[2]))
    assert named <= known


def of(program):
    return [
        pytest.param(command, id=f"{page}: {command}") for page, command in COMMANDS if command.split()[0] == program
    ]


@pytest.mark.parametrize("command", of("medtransfer"))
def test_a_shown_command_has_the_words_that_the_parser_knows(command):
    words = shlex.split(command)[1:]
    assert build_parser().parse_args(words).stage


def test_every_make_target_that_is_named_exists():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    mentioned = set(re.findall(r"`make ([a-z-]+)", text)) | {c.split()[1] for _, c in COMMANDS if c.startswith("make ")}
    assert {"repro", "test"} <= mentioned <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_path_in_the_readme_exists():
    text = re.sub(r"```.*?```", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    outputs = ("out/", "metrics/", "datasets/", ".venv/", "workspaces/")
    mentioned = set(re.findall(r"`([\w./-]+(?:/|\.yaml|\.dvc|\.lock|\.py|\.md))`", text))
    rooms = [ROOT, ROOT / "src" / "medtransfer"]
    absent = {n for n in mentioned if not n.startswith(outputs) and not any((room / n).exists() for room in rooms)}
    assert mentioned
    assert not absent


def test_the_shown_check_passes(monkeypatch, capsys):
    monkeypatch.setenv("DVC_ROOT", str(ROOT))
    assert run(["check"]) == 0
    assert "profiles/paper.yaml: valid" in " ".join(capsys.readouterr().err.split())


def test_help_of_the_installed_program_names_every_verb():
    done = subprocess.run([sys.executable, "-m", "medtransfer", "--help"], capture_output=True, text=True, check=True)
    assert set(build_parser()._actions[-1].choices) <= set(done.stdout.split())


@pytest.mark.slow
def test_the_check_runs_as_an_mlflow_project(tmp_path):
    command = [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager=local", "-e", "check"]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {
        "PATH": path,
        "HOME": str(tmp_path),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/runs.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "profiles/paper.yaml: valid" in done.stdout + done.stderr


def test_make_repro_outside_git_says_what_is_missing(tmp_path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text(encoding="utf-8"), encoding="utf-8")
    for name in ("requirements.lock", "pyproject.toml", ".venv/.stamp"):  # the environment counts as made
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    alone = {key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "MFLAGS"}
    alone |= {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    done = subprocess.run(
        ["make", "--no-print-directory", "repro"], cwd=tmp_path, env=alone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(
        "make repro: no git checkout, which DVC needs; git clone the project, or run git init"
    )
    assert done.stdout == ""
