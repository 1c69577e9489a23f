import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtransfer.data.arrays import Prepared
from medtransfer.data.images import decode, equalize, read_image, resize, smooth
from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import FORMAT, PackConfig, PackedDataset, pack
from medtransfer.errors import DataError

META = {"classes": ["non-covid", "covid"], "licence": "CC0", "citation": "made up", "known_overlaps": "none"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(rng.integers(0, 256, (40, 30 + i), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def manifest(**columns: list) -> pd.DataFrame:
    rows = [
        {
            "image_id": f"ct/{i}",
            "patient_id": f"ct:{i}",
            "dataset": "ct",
            "path": f"{i}.png",
            "label": ["covid", "non-covid", "covid", ""][i % 4],
            "split": "train" if i < 4 else "val" if i < 6 else "test",
        }
        | {key: values[i] for key, values in columns.items()}
        for i in range(8)
    ]
    return build_manifest(rows)


def packed(root: Path, config: PackConfig, table: pd.DataFrame | None = None) -> PackedDataset:
    out = root.parent / "datasets" / "ct"
    pack(manifest() if table is None else table, root, out, config, meta=META)
    return PackedDataset.open(out)


def test_a_packed_set_holds_the_resized_pictures_and_their_description(root):
    data = packed(root, PackConfig(size=16))
    assert data.images.shape == (8, 1, 16, 16)
    for i in range(8):
        np.testing.assert_array_equal(data.images[i], resize(read_image(root / f"{i}.png", channels=1), 16))
    assert data.manifest["row"].tolist() == list(range(8))
    assert data.masks is None
    assert (data.meta.classes, data.meta.size, data.meta.licence) == (("non-covid", "covid"), 16, "CC0")
    data.verify()


def test_mean_and_deviation_are_those_of_the_training_rows(root):
    data = packed(root, PackConfig(size=16, channels=3))
    unit = data.images[:4] / 255
    np.testing.assert_allclose(data.meta.mean, unit.mean((0, 2, 3)))
    np.testing.assert_allclose(data.meta.std, unit.std((0, 2, 3)))
    assert data.meta.statistics_of == "train"


def test_a_set_without_training_rows_says_that_its_statistics_are_of_all(root):
    data = packed(root, PackConfig(size=16), manifest(split=["test"] * 8))
    assert data.meta.statistics_of == "all"
    np.testing.assert_allclose(data.meta.mean[0], (data.images / 255).mean())


def test_equalising_happens_before_quantising(root):
    deep = np.linspace(1000, 1050, 1600).round().astype(np.uint16).reshape(40, 40)
    for i in range(8):
        Image.fromarray(deep).save(root / f"{i}.png")
    data = packed(root, PackConfig(size=40, equalize=True))
    assert len(np.unique(data.images[0])) == 51  # quantised first, 50 grey levels of 65,536 would be one
    np.testing.assert_array_equal(data.images[0], ((equalize(deep[None]).astype(int) + 128) // 257).astype(np.uint8))


def test_windowing_happens_before_quantising_and_sixteen_bits_are_kept(root):
    deep = (1000 + np.arange(1600) % 100).astype(np.uint16).reshape(40, 40)
    for i in range(8):
        Image.fromarray(deep).save(root / f"{i}.png")
    eight = packed(root, PackConfig(size=40, window=(1050, 100)))
    assert len(np.unique(eight.images[0])) == 100
    sixteen = packed(root, PackConfig(size=40, depth=16))
    assert sixteen.images.dtype == np.uint16
    np.testing.assert_array_equal(sixteen.images[0, 0], deep)


def test_twelve_bits_in_a_file_of_sixteen_are_refused_with_the_window_that_shows_them(root):
    deep = (np.arange(1600) * 4095 // 1599).astype(np.uint16).reshape(40, 40)
    for i in range(8):
        Image.fromarray(deep).save(root / f"{i}.png")
    said = r"8 images have 16 bits per pixel, but no grey level above 4095: .* set pack.window: \[2048, 4096\]"
    with pytest.raises(DataError, match=said):
        packed(root, PackConfig(size=40))
    shown = packed(root, PackConfig(size=40, window=(2048, 4096)))
    assert len(np.unique(shown.images[0])) == 256


def test_hounsfield_units_and_floats_are_windowed_before_any_range_is_asked_for(root):
    units = np.linspace(-1000, 400, 1600).reshape(40, 40)
    for i in range(8):
        values = units.astype(np.int16) if i % 2 else units.astype(np.float32)
        Image.fromarray(values).save(root / f"{i}.tif")
    table = manifest(path=[f"{i}.tif" for i in range(8)])
    data = packed(root, PackConfig(size=40, window=(-300, 1400)), table)
    np.testing.assert_allclose(data.images[1, 0], (units + 1000) / 1400 * 255, atol=1)
    with pytest.raises(DataError, match=r"pixels.*set pack.window to their centre and width"):
        packed(root, PackConfig(size=40), table)


def test_a_full_disk_is_an_error_with_the_files_name_and_not_a_signal(root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medtransfer.data.arrays.os.posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device: .*images\.npy"):
        packed(root, PackConfig(size=40))


def test_masks_are_resized_to_nearest_and_binary_ones_become_lung(root):
    lobes = np.kron(np.array([[0, 1], [5, 13]], np.uint8), np.ones((20, 20), np.uint8))
    Image.fromarray(lobes).save(root / "lobes.png")
    soft = (lobes > 0).astype(np.uint8) * 255
    soft[0, 0] = 7  # a grey edge, as resizing leaves it
    Image.fromarray(soft).save(root / "lung.png")
    data = packed(root, PackConfig(size=10), manifest(mask=["", "lobes.png", "", "lung.png", "", "", "", ""]))
    assert data.manifest["mask_row"].tolist() == [-1, 0, -1, 1, -1, -1, -1, -1]
    np.testing.assert_array_equal(data.masks[0], lobes[::4, ::4])
    np.testing.assert_array_equal(data.masks[1], np.where(lobes > 0, 6, 0)[::4, ::4])
    assert "mask" not in data.manifest


def test_a_mask_of_unknown_values_is_refused(root):
    Image.fromarray(np.full((40, 40), 99, np.uint8)).save(root / "odd.png")
    with pytest.raises(
        DataError, match=r"odd\.png: mask value 99, expected 0–6, these \+ 8, or white \(255\) on black"
    ):
        packed(root, PackConfig(size=10), manifest(mask=["odd.png"] + [""] * 7))


def test_rows_and_targets_follow_splits_labels_and_class_order(root):
    data = packed(root, PackConfig(size=8))
    assert data.rows("train").tolist() == [0, 1, 2]
    assert data.rows("train", labelled=False).tolist() == [0, 1, 2, 3]
    assert data.rows().tolist() == [0, 1, 2, 4, 5, 6]
    assert data.class_index[data.rows("train", labelled=False)].tolist() == [1, 0, 1, -1]
    assert data.class_index.dtype == np.int64


def test_a_known_finding_counts_as_labelled(root):
    finding = [float("nan")] * 3 + [0.0] + [float("nan")] * 4
    assert 3 in packed(root, PackConfig(size=8), manifest(y_edema=finding)).rows("train")


def test_findings_are_targets_in_the_order_asked_for(root):
    nan = float("nan")
    table = manifest(y_edema=[1.0, 0.0, nan, 1.0] * 2, y_mass=[0.0] * 8, y_hernia=[nan] * 8)
    data = packed(root, PackConfig(size=8), table)
    found = data.targets(("mass", "edema"))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:4], [[0, 1], [0, 0], [0, nan], [0, 1]])
    with pytest.raises(DataError, match="hernia: a label column with only blanks, expected known values"):
        data.targets(("edema", "hernia"))
    with pytest.raises(DataError, match=r"flu: no such finding, .*; the findings are edema, mass, hernia"):
        data.targets(("flu",))


def test_zones_are_targets_by_their_own_column(root):
    nan = float("nan")
    data = packed(root, PackConfig(size=8), manifest(zone_1=[0.0, 2.5, nan, 3.0] * 2, y_edema=[1.0] * 8))
    np.testing.assert_array_equal(data.targets(("zone_1", "edema"))[:3], [[0, 1], [2.5, 1], [nan, 1]])
    with pytest.raises(DataError, match="zone_0: a label column with only blanks"):
        data.targets(("zone_0",))


def test_a_label_outside_the_classes_is_refused(root):
    with pytest.raises(DataError, match=r"ct/0: label 'flu' is none of the classes non-covid, covid"):
        packed(root, PackConfig(size=8), manifest(label=["flu"] + ["covid"] * 7))


def test_an_unreadable_picture_leaves_nothing_and_keeps_the_older_set(root):
    older = packed(root, PackConfig(size=8)).meta.content_hash
    (root / "5.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"5\.png: the image file is empty"):
        packed(root, PackConfig(size=12))
    folder = root.parent / "datasets"
    assert [path.name for path in folder.iterdir()] == ["ct"]
    assert PackedDataset.open(folder / "ct").meta.content_hash == older


def test_pictures_of_one_grey_level_are_refused(root):
    for i in range(8):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(root / f"{i}.png")
    with pytest.raises(DataError, match="ct: all images are one grey level"):
        packed(root, PackConfig(size=4))


def test_packing_twice_gives_the_same_content_hash(root):
    assert packed(root, PackConfig(size=8)).meta.content_hash == packed(root, PackConfig(size=8)).meta.content_hash


@pytest.mark.parametrize(
    "config",
    [PackConfig(size=16), PackConfig(size=16, channels=3, depth=16, equalize=True, smooth=True)],
    ids=["plain", "all that a config can ask"],
)
def test_images_prepared_while_decoded_are_packed_as_if_decoded_again(root, config):
    again = packed(root, config).meta.content_hash
    prepared = Prepared(root.parent / "prepared.npy", 9, config)
    for number in reversed(range(8)):
        prepared.add(f"{number}.png", decode(root / f"{number}.png"))
        (root / f"{number}.png").unlink()
    out = root.parent / "datasets" / "other"
    pack(manifest(), root, out, config, meta=META, prepared=prepared)
    assert PackedDataset.open(out).meta.content_hash == again


def test_twelve_bits_are_refused_of_prepared_images_too(root):
    file, config = root / "0.png", PackConfig(size=16)
    Image.fromarray(np.full((40, 40), 2**12 - 1, np.uint16)).save(file)
    prepared = Prepared(root.parent / "prepared.npy", 8, config)
    for number in range(8):
        prepared.add(f"{number}.png", decode(file))
    with pytest.raises(DataError, match="12 bits"):
        pack(manifest(), root, root.parent / "datasets" / "other", config, meta=META, prepared=prepared)


def test_damage_is_found_when_opening_or_verifying(root):
    data = packed(root, PackConfig(size=8))
    folder = data.folder
    whole = (folder / "images.npy").read_bytes()
    (folder / "images.npy").write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"images\.npy: absent or damaged; prepare the data set again"):
        PackedDataset.open(folder)
    (folder / "images.npy").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=r"images\.npy: not the bytes that were packed"):
        PackedDataset.open(folder).verify()
    (folder / "images.npy").unlink()
    with pytest.raises(DataError, match=r"images\.npy: absent"):
        PackedDataset.open(folder)


def test_parts_of_different_sets_are_refused(root):
    data = packed(root, PackConfig(size=8))
    np.save(data.folder / "images.npy", np.zeros((3, 1, 8, 8), np.uint8))
    with pytest.raises(DataError, match=r"images\.npy: shape \(3, 1, 8, 8\), expected \(8, 1, 8, 8\)"):
        PackedDataset.open(data.folder)


def test_a_description_of_an_older_format_is_refused(root):
    data = packed(root, PackConfig(size=8))
    description = data.folder / "dataset.json"
    written = json.loads(description.read_text())
    del written["format"], written["patients"]  # as it was before it said whether patients are known
    description.write_text(json.dumps(written))
    with pytest.raises(
        DataError, match=r"dataset\.json: format None is not that of this version.*prepare the data set"
    ):
        PackedDataset.open(data.folder)


def test_entries_name_patients_only_where_they_are_known(root):
    data = packed(root, PackConfig(size=8))
    assert data.meta.patients == "each_image"
    assert data.entries([2, 1])["patient_id"].tolist() == ["", ""]
    assert data.entries([2, 1])["image_id"].tolist() == ["ct/2", "ct/1"]
    pack(manifest(), root, data.folder, PackConfig(size=8), meta=META | {"patients": "known"})
    assert PackedDataset.open(data.folder).entries([2, 1])["patient_id"].tolist() == ["ct:2", "ct:1"]


def test_a_folder_without_or_with_a_damaged_description_is_refused(root):
    data = packed(root, PackConfig(size=8))
    description = data.folder / "dataset.json"
    description.write_text(json.dumps({"format": FORMAT, "name": "ct"}))
    with pytest.raises(DataError, match=r"dataset\.json: damaged"):
        PackedDataset.open(data.folder)
    description.write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json: damaged"):
        PackedDataset.open(data.folder)
    shutil.rmtree(data.folder)
    with pytest.raises(DataError, match=r"no packed data set \(dataset\.json is absent\); prepare it first"):
        PackedDataset.open(data.folder)


def test_findings_that_a_source_does_not_label_are_accepted_when_asked(root):
    nothing, some = [float("nan")] * 8, [1.0, 0.0] * 4
    data = packed(root, PackConfig(size=16), manifest(y_devices=nothing, y_edema=some))
    with pytest.raises(DataError, match="devices: a label column with only blanks"):
        data.targets(("edema", "devices"))
    values = data.targets(("edema", "devices"), blank=True)
    assert values[:, 0].tolist() == some
    assert np.isnan(values[:, 1]).all()
    with pytest.raises(DataError, match="mass: no such finding"):
        data.targets(("mass",), blank=True)


def test_images_are_smoothed_after_equalising(root):
    data = packed(root, PackConfig(size=16, equalize=True, smooth=True))
    expected = resize(smooth(equalize(read_image(root / "0.png", channels=1))), 16)
    np.testing.assert_array_equal(data.images[0], expected)


def test_values_keep_their_columns(root):
    data = packed(root, PackConfig(size=16), manifest(v_opacity=[0.5, 6.0] * 4))
    assert data.manifest["v_opacity"].tolist() == [0.5, 6.0] * 4
