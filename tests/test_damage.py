"""A single flipped bit in what a later stage computes from is noticed when it is read."""

import contextlib
import functools
import operator
import random

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import PackConfig, PackedDataset, _verify_once, pack
from medtransfer.errors import DamagedFile, MedTransferError
from medtransfer.evaluation.predictions import prediction_rows, read_predictions, write_predictions
from medtransfer.files import read_json, read_sealed, write_sealed
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.weights import load_model, save_weights
from medtransfer.training.state import load_state, save_state
from network_heads import class_heads

FLIPS = 40


def flipped(file, seed):
    """Flip one bit that the seed chooses."""
    content, draw = bytearray(file.read_bytes()), random.Random(seed)
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(content)


def survivors(file, read, *, same):
    """Return the seeds of flips that are read without an error and with another result."""
    whole, unnoticed = file.read_bytes(), []
    for seed in range(FLIPS):
        file.write_bytes(flipped(file, seed))
        with contextlib.suppress(MedTransferError):
            if not same(read()):
                unnoticed.append(seed)
        file.write_bytes(whole)
    return unnoticed


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    rows = [
        {"image_id": f"d/{n}", "patient_id": f"d:{n}", "dataset": "d", "path": f"{n}.png", "label": "ab"[n % 2]}
        for n in range(4)
    ]
    pack(build_manifest(rows), tmp_path, tmp_path / "packed", PackConfig(size=8), meta={})
    return tmp_path / "packed"


@pytest.mark.parametrize("file", ["dataset.json", "manifest.parquet", "images.npy"])
def test_packed_data(dataset, file):
    whole = PackedDataset.open(dataset)
    images = np.array(whole.images)

    def read():
        _verify_once.cache_clear()
        return PackedDataset.open(dataset)

    def same(data):
        return data.meta == whole.meta and data.manifest.equals(whole.manifest) and (data.images == images).all()

    assert survivors(dataset / file, read, same=same) == []


def test_predictions(tmp_path):
    images = pd.DataFrame({name: [f"{name}{n}" for n in range(20)] for name in ("image_id", "patient_id")})
    images = images.assign(dataset="d", split="test", source="", view="", date=pd.NaT)
    scores = np.linspace(0, 1, 20)[:, None]
    names = {"study": "s", "variant": "v", "condition": "c", "seed": 0}
    table = prediction_rows(images, scores, scores.round(), outputs=["covid"], kind="probability", **names)
    file = tmp_path / "predictions.parquet"
    write_predictions([table.iloc[:7], table.iloc[7:]], file)
    whole = read_predictions(file)
    assert survivors(file, lambda: read_predictions(file), same=whole.equals) == []


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_weights(tmp_path, file):
    model = build_network(NetworkConfig(backbone="test_resnet"), 2, seed=0)
    save_weights(
        model,
        tmp_path,
        config=NetworkConfig(backbone="test_resnet"),
        heads=class_heads(("a", "b")),
        preprocessing={"mean": [0.5], "std": [0.25], "size": 40},
        extra={"dataset": "d"},
    )
    whole = load_model(tmp_path)[1]
    assert survivors(tmp_path / file, lambda: load_model(tmp_path)[1], same=whole.__eq__) == []


def test_a_resume_file(tmp_path):
    import torch

    save_state(tmp_path, step=3, tensors={"a": torch.arange(4.0)}, scalars={"best": 0.25, "epoch": 1})
    assert (
        survivors(tmp_path / "state.json", lambda: load_state(tmp_path)[1], same={"best": 0.25, "epoch": 1}.__eq__)
        == []
    )


@pytest.mark.parametrize("name", ["card.json", "run.json"])
def test_what_is_computed_from_metrics_and_records_is_checked(tmp_path, name):
    value = {"v/c/d/val": {"auroc": {"mean": 0.75, "seeds": {"0": 0.75}}}, "run_key": "a" * 32}
    write_sealed(tmp_path / name, value)
    content = (tmp_path / name).read_text()
    (tmp_path / name).write_text(content.replace("0.75", "0.95", 1))
    with pytest.raises(DamagedFile, match=f"{name}: its content is not what was written"):
        read_json(tmp_path / name)
    (tmp_path / name).write_text(content)
    assert survivors(tmp_path / name, lambda: read_sealed(tmp_path / name), same=value.__eq__) == []


@pytest.mark.parametrize("content", ["[]", "1", "null", '"text"'])
def test_json_that_is_no_object_is_named(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(DamagedFile, match=r"run.json: expected an object; restore it"):
        read_json(tmp_path / "run.json")


def test_json_that_is_no_list_is_named(tmp_path):
    (tmp_path / "champions.json").write_text("{}")
    with pytest.raises(DamagedFile, match=r"champions.json: expected a list; restore it"):
        read_json(tmp_path / "champions.json", list)


@pytest.mark.parametrize("keys", [("run",), ("lineage", "commit"), ("data", 0, "name")])
def test_a_missing_key_names_its_file(tmp_path, keys):
    (tmp_path / "run.json").write_text('{"lineage": {}, "data": [{}]}')
    value = read_json(tmp_path / "run.json")
    with pytest.raises(DamagedFile, match=rf"run.json: expected '{keys[-1]}' in it; restore it"):
        functools.reduce(operator.getitem, keys, value)


def test_a_seal_is_asked_for_where_a_stage_reads(tmp_path):
    write_sealed(tmp_path / "a.json", {"x": 1})
    assert read_json(tmp_path / "a.json") == read_sealed(tmp_path / "a.json") == {"x": 1}
    (tmp_path / "a.json").write_text('{"x": 1}')
    with pytest.raises(ValueError, match="no seal"):
        read_sealed(tmp_path / "a.json")
