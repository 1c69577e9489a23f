"""Bad input through the real command line: exit code 2 (3 for a closed gate) and one line that says what and where."""

import json

import numpy as np
import pytest

from medtransfer.cli import run
from medtransfer.data.packed import PackedDataset
from medtransfer.errors import DataError
from medtransfer.paths import dataset

STUDY = "attentive_transfer"
START = ["fit", STUDY, "start", "resnet18_attn1"]
FIT = ["fit", STUDY, "finetune", "resnet18_attn1"]
WEIGHTS = f"out/{STUDY}/weights/pretrain"


def refused(words, capsys, code=2):
    """Run a verb that must refuse; return its one line."""
    capsys.readouterr()
    assert run(words) == code
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("medtransfer: ")]
    assert len(said) == 1
    return said[0]


def test_clean_data_pass_the_gate(toy):
    toy.draw()
    assert run(["prepare", "ct"]) == 0
    assert run(["gate"]) == 0
    assert json.loads((toy.folder / "out/gate/report.json").read_text(encoding="utf-8"))["hits"] == []


def test_a_planted_patient_closes_the_gate_by_name(toy, capsys):
    toy.draw(rows=["images/extra.png,train0,covid,test"])
    toy.draw_image("images/extra.png", np.random.default_rng(9))
    assert run(["prepare", "ct"]) == 0
    said = refused(["gate"], capsys, code=3)
    assert "1 patient and 0 images in two splits" in said
    assert "ct/images/train0.png (train)" in said
    assert "ct/images/extra.png (test)" in said
    assert not (toy.folder / "out/gate").exists()


def test_a_planted_copy_closes_the_gate(toy, capsys):
    toy.draw(rows=["images/extra.png,someone,covid,test"])
    copied = (toy.folder / "data/ct/images/train1.png").read_bytes()
    (toy.folder / "data/ct/images/extra.png").write_bytes(copied)
    assert run(["prepare", "ct"]) == 0
    assert "bytes ct/images/train1.png (train) = ct/images/extra.png (test)" in refused(["gate"], capsys, code=3)


def test_a_label_outside_the_classes_is_named(toy, capsys):
    toy.draw(rows=["images/extra.png,someone,maybe,test"])
    toy.draw_image("images/extra.png", np.random.default_rng(9))
    said = refused(["prepare", "ct"], capsys)
    assert "maybe" in said
    assert "non-covid, covid" in said
    assert not (toy.folder / "out/datasets/ct").exists()


def test_an_unreadable_image_is_left_out_with_its_reason(toy, capsys):
    toy.draw(rows=["images/torn.png,someone,covid,test"])
    whole = (toy.folder / "data/ct/images/train1.png").read_bytes()
    (toy.folder / "data/ct/images/torn.png").write_bytes(whole[: len(whole) // 2])
    assert run(["prepare", "ct"]) == 0
    assert "ct: left out images/torn.png: " in capsys.readouterr().err
    assert len(PackedDataset.open(dataset("ct")).manifest) == 24


def test_an_image_that_is_listed_twice_counts_once(toy, capsys):
    toy.draw(rows=["images/train1.png,train1,covid,train"])
    assert run(["prepare", "ct"]) == 0
    assert "left out images/train1.png: listed twice" in capsys.readouterr().err
    assert PackedDataset.open(dataset("ct")).manifest["image_id"].is_unique


def test_no_image_at_all_is_refused(toy, capsys):
    toy.draw(counts=(0, 0, 0))
    assert "data/ct: no image found" in refused(["prepare", "ct"], capsys)


def test_shares_that_leave_a_split_without_positives_are_refused(toy, capsys):
    toy.draw(counts=(0, 0, 0), rows=[f"images/{n}.png,p{n},{'covid' if n == 0 else 'non-covid'}," for n in range(12)])
    for number in range(12):
        toy.draw_image(f"images/{number}.png", np.random.default_rng(number))
    said = refused(["prepare", "ct"], capsys)
    assert "has no image of class covid" in said
    assert "change the shares or the seed, or add images" in said


def test_training_before_preparing_says_what_to_do(toy, capsys):
    assert "no packed data set" in refused(FIT, capsys)


def test_a_fit_without_its_parent_says_which_stage_is_missing(toy, capsys):
    toy.draw()
    run(["prepare", "ct"])
    assert "no weights here; run the stage that makes them first (dvc repro)" in refused(FIT, capsys)


def test_a_checkpoint_of_another_network_is_refused(toy, capsys):
    toy.draw()
    run(["prepare", "ct"])
    toy.params[STUDY]["networks"] = ["resnet18_attn1", "resnet34_attn1"]
    toy.write_params()
    assert run([*START[:-1], "resnet34_attn1"]) == 0
    pretrained = toy.folder / WEIGHTS
    (pretrained / "resnet34_attn1").rename(pretrained / "resnet18_attn1")
    said = refused(FIT, capsys)
    assert "pretrain/resnet18_attn1/none/seed0: the weights are of another network" in said
    assert not (toy.folder / WEIGHTS).with_name("finetune").exists()


def test_a_damaged_checkpoint_is_refused(toy, capsys):
    toy.draw()
    run(["prepare", "ct"])
    run(START)
    file = next((toy.folder / WEIGHTS).rglob("model.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    file.write_bytes(bytes(content))
    assert "pretrain/resnet18_attn1/none/seed0" in refused(FIT, capsys)


def test_a_damaged_dataset_json_is_refused(toy, capsys):
    toy.draw()
    run(["prepare", "ct"])
    (toy.folder / "out/datasets/ct/dataset.json").write_text("{", encoding="utf-8")
    assert "out/datasets/ct/dataset.json: damaged, expected what packing wrote" in refused(["gate"], capsys)


def test_an_array_cut_short_is_refused(toy, capsys):
    toy.draw()
    run(["prepare", "ct"])
    file = toy.folder / "out/datasets/ct/images.npy"
    file.write_bytes(file.read_bytes()[:-1])
    assert "out/datasets/ct/images.npy" in refused(["gate"], capsys)


def test_changed_bytes_of_a_packed_array_are_found_by_its_hash(toy):
    """What DVC restores from a damaged cache object without a word."""
    toy.draw()
    run(["prepare", "ct"])
    file = toy.folder / "out/datasets/ct/images.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"images.npy: not the bytes that were packed; prepare the data set again"):
        PackedDataset.open(dataset("ct")).verify()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            [STUDY, "stl_x", "all"],
            f"phase 'stl_x': {STUDY} has none of this name; there are start, stl_n, warm_up, stl_m, sstl_m, finetune",
        ),
        (
            [STUDY, "start", "resnet19_attn1"],
            f"variant 'resnet19_attn1': {STUDY} start has none of this name; there are resnet18_attn1",
        ),
        (
            [STUDY, "finetune", "all", "--condition", "stl_n"],
            f"condition 'stl_n': {STUDY} finetune resnet18_attn1 has none of this name; there are none",
        ),
        (
            ["truncated_transfer", "pretrain", "vgg11"],
            "variant 'vgg11': truncated_transfer pretrain has none of this name; there are densenet121",
        ),
    ],
    ids=" ".join,
)
def test_a_fit_that_the_study_does_not_have_is_refused_with_those_that_it_has(words, text, toy, capsys):
    assert refused(["fit", *words], capsys) == f"medtransfer: {text}"


def test_a_network_that_does_not_exist_is_refused(toy, capsys):
    toy.params[STUDY]["networks"] = ["resnet19_attn1"]
    toy.write_params()
    assert "resnet19" in refused([*START[:-1], "resnet19_attn1"], capsys)


def test_a_site_that_does_not_exist_is_refused(toy, capsys):
    toy.params[STUDY]["attention"]["sites"] = {"resnet18_attn1": ["layer9.0"]}
    toy.write_params()
    assert "attention site 'layer9.0' does not exist; this network has " in refused(START, capsys)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 5000, b""])
def test_damaged_json_of_any_stage_is_one_line(toy, capsys, content):
    file = toy.folder / f"out/{STUDY}/results/card.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    said = refused(["register", STUDY], capsys)
    assert f"out/{STUDY}/results/card.json: damaged JSON (" in said
