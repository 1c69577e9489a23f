from datetime import datetime

import numpy as np
import pytest
from PIL import Image

from medtransfer.data.sources import CovidCollectionSource, Skipped
from medtransfer.data.sources.covid_collection import class_of, date_of, place_of
from medtransfer.errors import DataError

HEADER = b"patientid,offset,finding,view,modality,date,folder,filename,clinical_notes,\n"
ROWS = [
    b'2,0,COVID-19,PA,X-ray,"January 22, 2020",images,a.jpeg,"a \x93wet market\x94, in a city\nsecond line",\n',
    b"2,3,COVID-19,AP Supine,X-ray,2020,images,b.png,,\n",
    b"3,,No Finding,L,X-ray,,images,c.png,,\n",
    b"4,,ARDS,PA,X-ray,,images,d.png,,\n",
    b"5,,Streptococcus,AP,X-ray,,images,gone.png,,\n",
    b"6,,Streptococcus,AP,X-ray,03/16/20,images,e.v1.png,,\n",
]


@pytest.fixture
def tree(write_images, text):
    text("metadata.csv", HEADER + b"".join(ROWS))
    write_images("images/a.jpeg", *(f"images/{name}.png" for name in ("b", "c", "d", "e.v1")))
    write_images("annotations/lungVAE-masks/e.v1_mask.png")


def test_frontal_images_are_kept_although_the_text_is_not_clean(tmp_path, tree):
    scan = CovidCollectionSource(root=tmp_path).scan()
    assert [(r["path"], r["patient_id"], r["label"], r["view"]) for r in scan.rows] == [
        ("images/a.jpeg", "2", "covid", "PA"),
        ("images/b.png", "2", "covid", "AP Supine"),
        ("images/e.v1.png", "6", "pneumonia", "AP"),
    ]
    assert [row["date"] for row in scan.rows] == [datetime(2020, 1, 22), None, datetime(2020, 3, 16)]
    assert [row["mask"] for row in scan.rows] == ["", "", "annotations/lungVAE-masks/e.v1_mask.png"]
    assert scan.classes == ("normal", "pneumonia", "covid")


def test_covid_against_any_other_finding_leaves_none_out(tmp_path, tree):
    scan = CovidCollectionSource(root=tmp_path, labels="covid_or_other").scan()
    assert [(row["path"], row["label"]) for row in scan.rows] == [
        ("images/a.jpeg", "covid"),
        ("images/b.png", "covid"),
        ("images/d.png", "other"),
        ("images/e.v1.png", "other"),
    ]
    assert scan.classes == ("other", "covid")


def test_trailing_blanks_ct_slices_and_rows_without_a_patient(tmp_path, write_images, text):
    header = "patientid,finding,view,modality,location,folder,filename\n"
    rows = [
        '1,COVID-19 ,PA ,X-ray," Milan,  Italy. ",images,a.png \n',
        "2,COVID-19,AP,CT,Italy,images,b.png\n",
        " ,COVID-19,AP,X-ray,Italy,images,c.png\n",
        "4,COVID-19,AP,X-ray, ,images,d.png\n",
    ]
    text("metadata.csv", header + "".join(rows))
    write_images(*(f"images/{name}.png" for name in "abcd"))
    scan = CovidCollectionSource(root=tmp_path, hospital="location").scan()
    assert [(r["path"], r["view"], r["source"]) for r in scan.rows] == [
        ("images/a.png", "PA", "milan, italy"),
        ("images/d.png", "AP", ""),
    ]
    assert scan.skipped == [
        Skipped("images/b.png", 3, "modality CT is not X-ray"),
        Skipped("images/c.png", 4, "patient is not stated"),
    ]
    assert {row["source"] for row in CovidCollectionSource(root=tmp_path).scan().rows} == {"cohen"}
    assert place_of("United Kingdom ") == place_of("united  kingdom.")


def test_a_mask_that_is_empty_or_of_another_size_is_not_used_and_counted(tmp_path, tree):
    folder = tmp_path / "annotations/lungVAE-masks"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a_mask.png")
    Image.fromarray(np.full((8, 9), 255, np.uint8)).save(folder / "b_mask.png")
    scan = CovidCollectionSource(root=tmp_path).scan()
    assert [bool(row["mask"]) for row in scan.rows] == [False, False, True]
    assert scan.skipped[:2] == [
        Skipped("annotations/lungVAE-masks/a_mask.png", 2, "mask is empty; the image is used without it"),
        Skipped("annotations/lungVAE-masks/b_mask.png", 3, "mask is 9×8, its image 8×8; the image is used without it"),
    ]


def test_geographic_and_opacity_scores_are_joined_by_name(tmp_path, tree, text):
    table = "## Scores,,\n## Licence,,\nfilename,geographic_mean,opacity_mean\n"
    text("annotations/covid-severity-scores.csv", table + "a.jpeg,6.0,4.7\nunlisted.png,1,1\n")
    scan = CovidCollectionSource(root=tmp_path).scan()
    assert (scan.rows[0]["v_geographic"], scan.rows[0]["v_opacity"]) == (6.0, 4.7)
    assert "v_opacity" not in scan.rows[1]
    assert scan.metadata == ("metadata.csv", "annotations/covid-severity-scores.csv")
    text("annotations/covid-severity-scores.csv", table + "a.jpeg,9,4\n")
    with pytest.raises(DataError, match=r"severity-scores\.csv row 4, column geographic_mean: '9', expected 0 to 8"):
        CovidCollectionSource(root=tmp_path).scan()
    text("annotations/covid-severity-scores.csv", table + "a.jpeg,4,many\n")
    with pytest.raises(DataError, match=r"column opacity_mean: 'many', expected 0 to 6"):
        CovidCollectionSource(root=tmp_path).scan()


def test_what_is_left_out_is_reported_with_row_and_reason(tmp_path, tree):
    assert CovidCollectionSource(root=tmp_path).scan().skipped == [
        Skipped("images/c.png", 4, "view L is not one of PA, AP, AP Supine"),
        Skipped("images/d.png", 5, "finding ARDS is none of the classes"),
        Skipped("images/gone.png", 6, "file is absent"),
    ]


def test_the_views_are_an_option(tmp_path, tree):
    scan = CovidCollectionSource(root=tmp_path, views=("L",)).scan()
    assert [(row["path"], row["label"]) for row in scan.rows] == [("images/c.png", "normal")]


@pytest.mark.parametrize(
    ("finding", "label"),
    [
        ("COVID-19, ARDS", "covid"),
        ("Pneumonia/Viral/COVID-19", "covid"),
        ("Pneumonia/Bacterial/Streptococcus", "pneumonia"),
        ("Mycoplasma Bacterial Pneumonia", "pneumonia"),
        ("SARS", "pneumonia"),
        ("No Finding", "normal"),
        ("ARDS", None),
        ("Tuberculosis", None),
        ("", None),
    ],
)
def test_a_finding_has_one_class_or_none(finding, label):
    assert class_of(finding) == label


@pytest.mark.parametrize("text", ["March 4, 2020", "Mar 4, 2020", "4 March 2020", "3/4/2020", "03/04/20", "2020-03-04"])
def test_every_way_to_write_a_day_is_read(text):
    assert date_of(text) == datetime(2020, 3, 4)


@pytest.mark.parametrize("text", ["2020", "March 2003", "January 12", "", "soon"])
def test_a_date_without_a_day_is_not_known(text):
    assert date_of(text) is None
