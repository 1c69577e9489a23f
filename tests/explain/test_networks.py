"""Explanations over a loader, their tables, and the examples of a figure."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medtransfer.data.loaders import Loader
from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import DatasetMeta, PackConfig, PackedDataset
from medtransfer.explain.localisation import agreement
from medtransfer.explain.methods import GRAD_CAM, LAST_MAP, Method, heat_maps
from medtransfer.explain.networks import Explanation, agreement_table, example_rows, explain_network, map_table

CLASSES = ("healthy", "ill")


def packed(folder: Path, patients: list[str]) -> PackedDataset:
    """Twelve images in the order of their names reversed; labels take turns."""
    rows = [
        {
            "image_id": f"toy/{11 - i:02}",
            "patient_id": f"toy:{patient}",
            "dataset": "toy",
            "path": f"{i}.png",
            "label": CLASSES[i % 2],
            "row": i,
        }
        for i, patient in enumerate(patients)
    ]
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (12, 1, 64, 64), dtype=np.uint8))
    meta = DatasetMeta(
        name="toy",
        classes=CLASSES,
        pack=PackConfig(size=64),
        images=12,
        masks=0,
        mean=(0.5,),
        std=(0.25,),
        statistics_of="all",
        files={},
        content_hash="",
    )
    return PackedDataset(folder, build_manifest(rows), meta)


@pytest.fixture
def data(tmp_path):
    return packed(tmp_path, [str(i) for i in range(12)])


def test_examples_are_the_first_by_name_as_many_of_each_class(data):
    rows = np.arange(12)
    table = data.manifest.iloc[example_rows(data, rows, count=4)]
    assert table["label"].tolist() == ["healthy", "healthy", "ill", "ill"]
    assert table["image_id"].tolist() == ["toy/01", "toy/03", "toy/00", "toy/02"]


def test_examples_are_of_different_patients(tmp_path):
    data = packed(tmp_path, ["one"] * 8 + ["two"] * 4)
    found = data.manifest.iloc[example_rows(data, np.arange(12), count=6)]
    assert sorted(found["patient_id"]) == ["toy:one", "toy:two"]


def test_examples_come_out_of_the_given_rows_alone(data):
    assert set(example_rows(data, np.array([3, 8, 5, 6]), count=6)) == {3, 5, 6, 8}


@pytest.fixture
def explained(attentive, data):
    loader = Loader(data, np.arange(4), batch_size=3, crop=64, seed=0, train=False)
    return explain_network(attentive, loader, 1), torch.cat([batch["image"] for batch in loader.epoch(0)])


def test_a_network_is_explained_on_every_row_in_order(explained, attentive):
    found, images = explained
    with torch.no_grad():
        chance = torch.softmax(attentive(images), 1)[:, 1]
    np.testing.assert_allclose(found.probability, chance.numpy(), atol=1e-5)
    for method, heat in heat_maps(attentive, images, 1).items():
        np.testing.assert_allclose(found.heats[method], heat.detach().numpy(), atol=1e-3)
    assert found.sizes.keys() == found.heats.keys()


def test_tables_have_a_row_for_every_network_method_and_region(explained):
    found, _ = explained
    left = np.zeros((4, 64, 64), dtype=bool)
    left[:, :, :32] = True
    scores = agreement_table({"a": found, "b": found}, {"left": left, "right": ~left})
    assert len(scores) == 2 * len(found.heats) * 2
    mapped = np.all([heat.any(axis=(1, 2)) for heat in found.heats.values()], axis=0)
    first = agreement(found.heats[Method(GRAD_CAM, LAST_MAP)], left, among=mapped)
    assert scores[0] == {"network": "a", "name": GRAD_CAM, "layer": LAST_MAP, "region": "left"} | vars(first)
    assert map_table({"a": found})[0] == {
        "network": "a",
        "name": GRAD_CAM,
        "layer": LAST_MAP,
        "rows": 2,
        "columns": 2,
    }


def test_all_methods_of_a_network_are_scored_on_the_same_images():
    """Grad-CAM is flat on image 0, one layer on image 1, another on all four: images 2 and 3 are left."""
    heat = np.ones((4, 2, 2), dtype=np.float32)
    cam, last, asleep = heat.copy(), heat.copy(), np.zeros_like(heat)
    cam[0], last[1] = 0, 0
    heats = {Method("grad_cam", "last map"): cam, Method("attention", "a"): last, Method("attention", "b"): asleep}
    found = Explanation(heats, {}, np.zeros(4, dtype=np.float32))
    rows = agreement_table({"net": found}, {"all": np.ones((4, 2, 2), dtype=bool)})
    assert [(row["images"], row["flat"]) for row in rows] == [(2, 1), (2, 1), (0, 4)]
    nothing = Explanation({Method("attention", "b"): asleep}, {}, np.zeros(4, dtype=np.float32))
    assert agreement_table({"net": nothing}, {"all": np.ones((4, 2, 2), dtype=bool)})[0]["flat"] == 4
