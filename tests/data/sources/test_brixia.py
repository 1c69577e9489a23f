"""Brixia scores joined to the collection's images."""

import numpy as np
import pytest
from PIL import Image

from medtransfer.data.manifest import build_manifest, validate_manifest
from medtransfer.data.sources import BrixiaSource, Skipped
from medtransfer.errors import DataError

COLUMNS = ",".join(f"{reader}-{zone}" for reader in "SJ" for zone in (*"ABCDEF", "Global"))
METADATA = "patientid,finding,view,modality,location,folder,filename\n"


def scored(name, senior, junior, totals=None):
    cells = [*senior, sum(map(int, senior)), *junior, sum(map(int, junior))] if totals is None else totals
    return f"{name},{','.join(map(str, cells))}\n"


@pytest.fixture
def tree(write_images, text, tmp_path):
    rows = ["1,COVID-19,PA,X-ray,Italy,images,a.png\n", "2,COVID-19,L,X-ray,Italy,images,b.png\n"]
    rows += ["3,ARDS,AP,X-ray,Spain,images,c.png\n", "4,COVID-19,AP,X-ray,Spain,images,gone.png\n"]
    text("covid-chestxray-dataset/metadata.csv", METADATA + "".join(rows))
    write_images(*(f"covid-chestxray-dataset/images/{name}.png" for name in "abc"))
    masks = tmp_path / "covid-chestxray-dataset/annotations/lungVAE-masks"
    masks.mkdir(parents=True)
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(masks / "a_mask.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(masks / "c_mask.png")

    def write(*lines):
        text("brixia-cohen/public-annotations.csv", "\ufefffilename," + COLUMNS + "\n" + "".join(lines))

    return write


def test_a_zone_is_1_where_the_senior_score_is_above_0(tmp_path, tree):
    tree(scored("a.png ", "012300", "112300"), scored("c.png", "000000", "000001"))
    scan = BrixiaSource(root=tmp_path).scan()
    first, second = scan.rows
    assert [first[f"zone_{i}"] for i in range(6)] == [0, 1, 1, 1, 0, 0]
    assert [first[f"v_junior_{i}"] for i in range(6)] == [1, 1, 2, 3, 0, 0]
    assert [first[f"v_senior_{i}"] for i in range(6)] == [0, 1, 2, 3, 0, 0]
    assert first["path"] == "covid-chestxray-dataset/images/a.png"
    assert first["mask"] == "covid-chestxray-dataset/annotations/lungVAE-masks/a_mask.png"
    assert (first["patient_id"], first["label"], second["mask"]) == ("1", "covid", "")
    assert (second["label"], second["patient_id"]) == ("", "3")  # a severity needs no class
    assert scan.skipped == [
        Skipped(
            "covid-chestxray-dataset/annotations/lungVAE-masks/c_mask.png",
            4,
            "mask is empty; the image is used without it",
        )
    ]
    table = validate_manifest(build_manifest([row | {"dataset": "brixia"} for row in scan.rows]))
    assert table["v_junior_5"].tolist() == [0, 1]


def test_reader_scale_and_hospital_are_options(tmp_path, tree):
    tree(scored("a.png", "012300", "112300"))
    row = BrixiaSource(root=tmp_path, reader="junior", zones="score", hospital="location").scan().rows[0]
    assert [row[f"zone_{i}"] for i in range(6)] == [1, 1, 2, 3, 0, 0]
    assert row["source"] == "italy"


def test_what_cannot_be_used_is_left_out_with_its_reason(tmp_path, tree):
    four = [4, 0, 0, 0, 0, 0, 4, *[0] * 7]
    half = [0.5, 0, 0, 0, 0, 0, 0.5, *[0] * 7]
    tree(
        scored("a.png", "000001", "000001"),
        scored("b.png", "000001", "000001"),
        scored("gone.png", "000001", "000001"),
        scored("other.png", "000001", "000001"),
        scored("c.png", "", "", totals=four),
        scored("c.png", "", "", totals=half),
        scored("c.png", "", "", totals=[1, 0, 0, 0, 0, 0, 2, *[0] * 7]),
        scored("a.png", "000001", "000001"),
    )
    scan = BrixiaSource(root=tmp_path).scan()
    assert [row["patient_id"] for row in scan.rows] == ["1"]
    assert [(skip.row, skip.reason) for skip in scan.skipped] == [
        (3, "view L is not one of PA, AP, AP Supine"),
        (4, "file is absent"),
        (5, "the collection does not list it"),
        (6, "senior score '4' is not 0, 1, 2 or 3"),
        (7, "senior score '0.5' is not 0, 1, 2 or 3"),
        (8, "S-Global is not the sum of the senior scores"),
        (9, "listed twice"),
    ]


def test_a_table_without_a_reader_is_refused(tmp_path, tree, text):
    text("brixia-cohen/public-annotations.csv", "filename,S-A\na.png,1\n")
    with pytest.raises(DataError, match="column S-B is missing"):
        BrixiaSource(root=tmp_path).scan()
