"""The gate's tokens, on which fits depend: which data change them, and which leaks close the gate for whom."""

import json

import pytest
from PIL import Image

from look_fixtures import smooth
from medtransfer.cli import run
from medtransfer.data.looks import make_looks

STUDY = "attentive_transfer"


@pytest.fixture
def gate(toy):
    """Prepare data sets and run the gate; return its exit code and its files by path below out/gate."""

    def opened(*datasets):
        for name in datasets:
            assert run(["prepare", name]) == 0
        code, folder = run(["gate"]), toy.folder / "out/gate"
        return code, {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.json")}

    return opened


def report(files):
    return json.loads(files["report.json"])


def changed(before, after):
    """Tokens that both have, with other bytes; the report counts images of all data sets."""
    return {path for path in before.keys() & after.keys() - {"report.json"} if after[path] != before[path]}


def test_a_new_data_set_leaves_every_other_token_as_it_was(toy, gate):
    toy.draw()
    code, before = gate("ct")
    assert code == 0
    toy.add("another")
    code, after = gate("another")
    assert code == 0
    assert set(after) - set(before) == {"datasets/another.json"}
    assert changed(before, after) == set()
    assert report(after)["images"] == 2 * report(before)["images"]


def test_changed_images_change_the_token_of_their_data_set_and_of_the_studies_that_read_it(toy, gate):
    toy.draw()
    toy.add("another")
    _, before = gate("ct", "another")
    toy.params["datasets"]["another"]["pack"]["size"] = 24
    toy.write_params()
    _, after = gate("another")
    assert changed(before, after) == {"datasets/another.json"}
    toy.params["datasets"]["ct"]["pack"]["size"] = 24
    toy.write_params()
    _, last = gate("ct")
    assert changed(after, last) == {"datasets/ct.json", f"studies/{STUDY}.json"}


def test_a_study_whose_data_set_is_absent_is_named_and_has_no_token(toy, gate, capsys):
    toy.draw()
    code, files = gate("ct")
    assert code == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert "truncated_transfer: reads 'natural', which is not a data set in params.yaml; it cannot be fitted" in printed
    assert set(files) == {"report.json", "datasets/ct.json", f"chains/{STUDY}.json", f"studies/{STUDY}.json"}


def test_a_copy_across_data_sets_of_one_study_closes_the_gate(toy, gate, capsys):
    toy.draw()
    toy.params[STUDY]["outside"] = ["far"]
    toy.add("far", copied="train1.png")
    code, files = gate("ct", "far")
    assert (code, files) == (3, {})
    assert "bytes ct/images/train1.png (train) = far/images/copy.png (test)" in capsys.readouterr().err


def test_a_copy_across_data_sets_that_no_study_joins_is_reported_and_leaves_the_gate_open(toy, gate):
    toy.draw()
    toy.add("far", copied="train1.png")
    code, files = gate("ct", "far")
    assert code == 0
    (hit,) = report(files)["hits"]
    assert (hit["dataset_a"], hit["dataset_b"], hit["study"], hit["pairs"]) == ("ct", "far", "none", 1)
    assert {"datasets/ct.json", "datasets/far.json"} <= set(files)


def test_a_closed_gate_leaves_no_token_of_an_earlier_opening(toy, gate):
    toy.draw()
    toy.add("far", copied="train1.png")
    assert gate("ct", "far")[0] == 0
    toy.params[STUDY]["outside"] = ["far"]
    toy.write_params()
    assert gate() == (3, {})


def test_looks_are_made_once_and_again_when_images_or_bytes_change(toy, gate, monkeypatch):
    made = []
    monkeypatch.setattr(
        "medtransfer.data.gate.make_looks", lambda images: made.append(len(images)) or make_looks(images)
    )
    toy.draw()
    assert gate("ct")[0] == 0
    gate()
    assert made == [24]
    file = toy.folder / ".scratch/looks/ct/spectra.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    gate()
    assert made == [24, 24]


def test_a_cropped_copy_in_the_test_split_closes_the_gate(toy, gate, capsys):
    toy.draw()
    image = Image.fromarray(smooth(1)[0, 0])
    image.save(toy.folder / "data/ct/images/train1.png")
    image.crop((4, 4, 92, 92)).save(toy.folder / "data/ct/images/test0.png")
    assert gate("ct")[0] == 3
    assert "near ct/images/train1.png (train) = ct/images/test0.png (test)" in capsys.readouterr().err
