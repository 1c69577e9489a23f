"""The benchmark of searches leaves the project as it is."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from medtransfer.params import load_params

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    spec = importlib.util.spec_from_file_location("bench_tuning", ROOT / "benchmarks" / "bench_tuning.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.tracking, "prepare_store", lambda: None)
    return module


def test_its_search_is_in_a_workspace_of_its_own(here, bench):
    shutil.copy(ROOT / "params.yaml", here)
    (here / "out" / "datasets" / "ct").mkdir(parents=True)
    (here / "out" / "tuning").mkdir()
    before = (here / "params.yaml").read_bytes()
    with bench._search("bench"):
        place = Path.cwd()
        assert not place.is_relative_to(here)
        params = load_params()
        assert list(params.tuning) == ["bench"]
        assert all(pointer.is_absolute() for pointer in params.pointers.values())
        assert (Path("out") / "datasets" / "ct").is_dir()
        assert not (Path("out") / "tuning").exists()
        assert (here / "params.yaml").read_bytes() == before
    assert (Path.cwd(), place.exists()) == (here, False)
    assert sorted(path.relative_to(here).as_posix() for path in here.rglob("*")) == [
        "out", "out/datasets", "out/datasets/ct", "out/tuning", "params.yaml",
    ]  # fmt: skip
