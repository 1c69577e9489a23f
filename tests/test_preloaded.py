"""Stages in children of a parent that has the packages loaded: the same as launched, and no longer alive than that."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medtransfer.preloaded import ADDRESS, Preloading

ASK = "import sys; sys.path.insert(0, {path!r}); sys.argv[0] = 'medtransfer'; from medtransfer import preloaded\n"
ASK += "code = preloaded.run_elsewhere(); print('here' if code is None else f'elsewhere {{code}}')"
SHOW = """
import json, os, random, sys
import numpy
json.dump({"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ), "loaded": "torch" in sys.modules,
           "own": [name for name in sys.modules if name.startswith("medtransfer")], "read": sys.stdin.read(),
           "random": random.random(), "numpy": numpy.random.rand(), "name": __name__, "pid": os.getpid()}, sys.stdout)
print("beside", file=sys.stderr)
sys.stdout.flush()
sys.exit(7)
"""
SLEEP = "import os, sys, time\nprint(os.getpid(), flush=True)\ntime.sleep(300)"
STOP = "import os, time\ntry:\n    print(os.getpid(), flush=True)\n    time.sleep(300)\nexcept KeyboardInterrupt:\n    "
STOP += "raise SystemExit(5)"


def started(folder):
    """Return a parent, and the environment that it was started in; pytest writes the test's name into its own."""
    parent = Preloading(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_CURRENT_TEST")
        parent.start()
        return parent, dict(os.environ) | {ADDRESS: parent.address}


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    parent, environment = started(tmp_path_factory.mktemp("parent"))
    yield environment
    parent.end()


@pytest.fixture
def launch(parent, tmp_path):
    """Launch a process that asks the parent to run a program in place of this package; return the process."""
    running = []

    def launch(program, *words, environment=parent, **more):
        package = tmp_path / "medtransfer"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(program)
        ask = ASK.format(path=str(tmp_path))
        ask = ask.replace("from medtransfer import preloaded", "preloaded = own")
        first = "from medtransfer import preloaded as own; "
        command, env = [sys.executable, "-c", first + ask, *words], environment | more
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return running[-1]

    yield launch
    for each in running:
        each.kill()
        each.wait()


def gone(child):
    """Whether a process ends within ten seconds."""
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not Path(f"/proc/{child}").exists()


def test_a_child_is_as_if_launched_but_has_the_packages(launch, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    said, beside = launch(SHOW, "fit", "x", DVC_STAGE="fit").communicate("given")
    found = json.loads(said.partition("elsewhere")[0])
    assert said.endswith("elsewhere 7\n")
    assert beside == "beside\n"
    assert found["argv"][1:] == ["fit", "x"]
    assert found["cwd"] == str(tmp_path / "folder")
    assert found["env"]["DVC_STAGE"] == "fit"
    assert ADDRESS not in found["env"]
    assert found["loaded"]
    assert found["own"] == ["medtransfer"]
    assert found["read"] == "given"
    assert found["name"] == "__main__"


def test_two_children_do_not_draw_the_same_random_numbers(launch):
    found = [json.loads(launch(SHOW).communicate("")[0].partition("elsewhere")[0]) for _ in range(2)]
    assert found[0]["random"] != found[1]["random"]
    assert found[0]["numpy"] != found[1]["numpy"]


@pytest.mark.parametrize(
    "change", [{"OMP_NUM_THREADS": "13"}, {"MLFLOW_LOGGING_LEVEL": "DEBUG"}, {ADDRESS: "/nowhere"}]
)
def test_another_environment_or_no_parent_means_here(launch, change):
    said, _ = launch(SHOW, **change).communicate("")
    assert said == "here\n"


def test_a_parent_that_fails_means_here(launch, tmp_path, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text("raise RuntimeError('broken')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'broken'}:{os.environ.get('PYTHONPATH', '')}")
    failing, environment = started(tmp_path)
    waiting = launch(SHOW, environment=environment)
    said, _ = waiting.communicate("", timeout=60)
    failing.end()
    assert said == "here\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_child_and_the_launched_process_ends_like_it(launch, number):
    process = launch(STOP)
    child = int(process.stdout.readline())
    process.send_signal(number)
    assert process.wait(10) == (0 if number == signal.SIGINT else -signal.SIGTERM)
    if number == signal.SIGINT:
        assert process.stdout.read() == "elsewhere 5\n"
    assert gone(child)


def test_a_child_ends_with_the_launched_process(launch):
    process = launch(SLEEP)
    child = int(process.stdout.readline())
    process.kill()
    assert gone(child)


def test_a_killed_child_is_a_killed_process(launch):
    process = launch(SLEEP)
    os.kill(int(process.stdout.readline()), signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL


def test_children_end_with_the_parent(launch, tmp_path):
    other, environment = started(tmp_path)
    process = launch(SLEEP, environment=environment)
    child = int(process.stdout.readline())
    other.end()
    assert process.wait(10) == -signal.SIGKILL
    assert gone(child)


def test_children_end_with_a_parent_that_is_killed(launch, tmp_path):
    other, environment = started(tmp_path)
    process = launch(SLEEP, environment=environment)
    child = int(process.stdout.readline())
    other._process.kill()
    assert process.wait(10) == -signal.SIGKILL
    assert gone(child)
    other.end()


def test_the_command_line_answers_from_a_child(parent):
    command = [sys.executable, "-m", "medtransfer"]
    for words, code in ((["--version"], 0), (["fit"], 2), (["prepare", "nothing"], 2)):
        done = [
            subprocess.run([*command, *words], env=env, capture_output=True, text=True, check=False, cwd="/")
            for env in (parent | {ADDRESS: ""}, parent)
        ]
        assert [each.returncode for each in done] == [code, code]
        assert done[0].stdout == done[1].stdout
        assert done[0].stderr == done[1].stderr
