"""Every tracker keeps the same contract; a run's description is checked when it is made."""

import inspect

import pydantic
import pytest

from medtransfer.tracking import DatasetInput, MemoryTracker, NullTracker, RunSpec, Tracker
from medtransfer.tracking.recorder import Recorder

METHODS = ["params", "metrics", "tags", "text", "figure", "file", "dataset", "close"]


@pytest.mark.parametrize("tracker", [NullTracker, MemoryTracker, Recorder])
@pytest.mark.parametrize("method", METHODS)
def test_signatures_agree_with_the_contract(tracker, method):
    expected = list(inspect.signature(getattr(Tracker, method)).parameters)
    assert list(inspect.signature(getattr(tracker, method)).parameters) == expected


def test_memory_keeps_what_it_is_given(tmp_path):
    tracker = MemoryTracker()
    data = DatasetInput(name="ct", digest="abc")
    tracker.params({"lr": 0.1})
    tracker.metrics({"a": 1, "b": 2.0}, 3)
    tracker.tags({"phase": "x"})
    tracker.text("a.txt", "hello")
    tracker.figure("b.png", "figure")
    tracker.file(tmp_path / "c.csv", "tables")
    tracker.dataset(data)
    tracker.close("FAILED")
    tracker.close("FINISHED")
    assert tracker.recorded_params == {"lr": 0.1}
    assert tracker.points == [("a", 3, 1.0), ("b", 3, 2.0)]
    assert tracker.recorded_tags == {"phase": "x"}
    assert tracker.artefacts == {"a.txt": "hello", "b.png": "figure", "tables/c.csv": tmp_path / "c.csv"}
    assert tracker.datasets == [data]
    assert tracker.status == "FAILED"


@pytest.mark.parametrize("experiment", ["", "../x", "a/b", "a b", "x" * 251])
def test_an_experiment_name_that_is_no_plain_word_is_refused(experiment):
    with pytest.raises(pydantic.ValidationError, match="experiment"):
        RunSpec(experiment=experiment, name="x")
