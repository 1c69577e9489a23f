import csv
import hashlib

import numpy as np
import pytest
from PIL import Image

from medtransfer.data.phantom.ct import CtConfig
from medtransfer.data.phantom.cxr import CxrConfig, severity_zones
from medtransfer.data.phantom.natural import SHAPES, NaturalConfig
from medtransfer.data.phantom.sample import LABEL_COLUMNS, SampleConfig, SplitCounts, write_sample
from medtransfer.data.phantom.shortcuts import ShortcutConfig
from medtransfer.errors import DataError

SMALL = SampleConfig(
    natural=NaturalConfig(size=16),
    natural_counts=SplitCounts(train=2, val=1, test=1),
    cxr=CxrConfig(size=32),
    cxr_count=40,
    ct=CtConfig(size=32),
    ct_counts=SplitCounts(train=30, val=8, test=12),
    ct_outside_count=10,
)


def table(folder, name="labels.csv"):
    with (folder / name).open() as handle:
        return list(csv.DictReader(handle))


def digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample")
    return root, write_sample(root, SMALL)


def test_counts_are_those_of_the_files(sample):
    root, counts = sample
    assert counts == {"natural": 4 * len(SHAPES), "cxr": 40, "ct": 50, "ct_outside": 10}
    assert len(list((root / "natural").glob("*/*/*.png"))) == counts["natural"]
    for name in ("cxr", "ct", "ct_outside"):
        assert len(list((root / name / "images").glob("*.png"))) == counts[name] == len(table(root / name))


def test_writing_again_gives_the_same_bytes(sample, tmp_path):
    write_sample(tmp_path, SMALL)
    assert digests(tmp_path) == digests(sample[0])


def test_another_seed_gives_other_images(sample, tmp_path):
    write_sample(tmp_path, SMALL.model_copy(update={"seed": 21}))
    name = "ct/images/0000.png"
    assert digests(tmp_path)[name] != digests(sample[0])[name]


def test_no_two_images_are_equal(sample):
    images = [digest for name, digest in digests(sample[0]).items() if name.endswith(".png") and "masks" not in name]
    assert len(set(images)) == len(images)


def test_a_folder_with_files_is_refused(tmp_path):
    (tmp_path / "old.txt").write_text("x")
    with pytest.raises(DataError, match="the sample needs an empty folder"):
        write_sample(tmp_path, SMALL)


def test_official_splits_have_their_size_and_no_common_patient(sample):
    rows = table(sample[0] / "ct")
    patients = {
        split: {row["patient_id"] for row in rows if row["split"] == split} for split in ("train", "val", "test")
    }
    assert [sum(row["split"] == split for row in rows) for split in patients] == [30, 8, 12]
    assert sum(len(group) for group in patients.values()) == len(set.union(*patients.values()))
    assert len(set.union(*patients.values())) < len(rows)


def test_a_patient_has_one_label_and_one_hospital(sample):
    for name in ("cxr", "ct"):
        facts = {(row["patient_id"], row["label"], row["source"]) for row in table(sample[0] / name)}
        assert len(facts) == len({patient for patient, _, _ in facts})


def test_outside_hospital_is_not_among_the_inner_ones_and_is_all_test(sample):
    inside, outside = table(sample[0] / "ct"), table(sample[0] / "ct_outside")
    assert {row["source"] for row in inside}.isdisjoint(row["source"] for row in outside)
    assert {row["split"] for row in outside} == {"test"}


def test_xray_table_leaves_the_split_and_some_findings_blank_and_zones_agree_with_the_masks(sample):
    rows = table(sample[0] / "cxr")
    assert list(rows[0])[: len(LABEL_COLUMNS)] == list(LABEL_COLUMNS)
    assert {row["split"] for row in rows} == {""}
    assert {row["y_opacity"] for row in rows} == {"", "0", "1"}
    for row in rows:
        mask = np.array(Image.open(sample[0] / "cxr" / row["mask"]))
        assert [float(row[f"zone_{n}"]) for n in range(6)] == list(severity_zones(mask, SMALL.cxr.zone_share))


def test_recorded_marker_boxes_hold_bright_letters(sample):
    rows = [row for row in table(sample[0] / "ct", "shortcuts.csv") if row["text"]]
    assert 0 < len(rows) < 50
    for row in rows:
        left, top, right, bottom = (int(row[edge]) for edge in ("left", "top", "right", "bottom"))
        assert (np.array(Image.open(sample[0] / "ct" / row["image"]))[top:bottom, left:right] == 240).sum() >= 10


def test_full_strength_puts_the_marker_on_every_positive_and_on_no_negative(tmp_path):
    write_sample(
        tmp_path, SMALL.model_copy(update={"ct_shortcuts": ShortcutConfig(text_marker=1.0, source_contrast=1.0)})
    )
    labels, planted = table(tmp_path / "ct"), table(tmp_path / "ct", "shortcuts.csv")
    positive = [row["label"] == "covid" for row in labels]
    assert [bool(row["text"]) for row in planted] == positive
    assert [row["source"] == "alder" for row in planted] == positive


def test_about_the_asked_share_of_patients_has_covid(sample):
    rows = {row["patient_id"]: row["label"] for row in table(sample[0] / "cxr")}
    assert np.mean([label == "covid" for label in rows.values()]) == pytest.approx(SMALL.covid_share, abs=0.06)
