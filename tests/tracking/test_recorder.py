"""A recorder keeps artefacts beside the journal, writes parameters once and refuses weights."""

import pytest

from medtransfer.errors import TrackingError
from medtransfer.tracking.journal import EVENTS, Journal, read_events
from medtransfer.tracking.recorder import Recorder


@pytest.fixture
def recorder(tmp_path):
    made = Recorder(Journal(tmp_path))
    yield made
    made.leave()


def kinds(folder):
    return [event.kind for event in read_events(folder / EVENTS)[0]]


def test_artefacts_lie_beside_the_journal(tmp_path, recorder):
    from matplotlib.figure import Figure

    (tmp_path / "table.csv").write_text("a,b\n")
    recorder.text("notes.txt", "hello")
    recorder.figure("plots/roc.png", Figure())
    recorder.file(tmp_path / "table.csv", "tables")
    recorder.file(tmp_path / "table.csv", "")
    assert (tmp_path / "artifacts/notes.txt").read_text() == "hello"
    assert (tmp_path / "artifacts/plots/roc.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "artifacts/tables/table.csv").read_text() == "a,b\n"
    assert kinds(tmp_path) == ["artefact"] * 4


def test_a_parameter_is_written_once(tmp_path, recorder):
    recorder.params({"optim": {"lr": 0.1}})
    recorder.params({"optim": {"lr": 0.1}})
    assert kinds(tmp_path) == ["params"]
    with pytest.raises(TrackingError, match=r"parameter optim.lr is 0.1 in this run and cannot become 0.2"):
        recorder.params({"optim": {"lr": 0.2}})


def test_weights_are_refused(tmp_path, recorder):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(TrackingError, match="holds weights, which a run does not store"):
        recorder.file(tmp_path / "model.safetensors", "weights")
    assert not (tmp_path / "artifacts").exists()


def test_a_name_outside_the_folder_writes_nothing(tmp_path, recorder):
    with pytest.raises(TrackingError, match="not a plain relative path"):
        recorder.text("../outside.txt", "x")
    assert not (tmp_path.parent / "outside.txt").exists()
    assert kinds(tmp_path) == []


def test_other_mistakes_are_named(tmp_path, recorder):
    with pytest.raises(TrackingError, match="no such file to track"):
        recorder.file(tmp_path / "absent.csv", "")
    with pytest.raises(TrackingError, match=r"must end in .png"):
        recorder.figure("roc.exe", None)
    recorder.close("FINISHED")
    recorder.close("FINISHED")
    with pytest.raises(TrackingError, match="the run is closed"):
        recorder.metrics({"a": 1.0}, 0)


def test_new_points_are_counted_for_the_shipper(tmp_path):
    counts = []
    recorder = Recorder(Journal(tmp_path), on_points=counts.append)
    recorder.metrics({"a": 1.0, "b": 2.0}, 0)
    recorder.metrics({"a": 1.0, "c": 2.0}, 0)
    recorder.metrics({"a": 1.0}, 0)
    recorder.leave()
    assert counts == [2, 1]
