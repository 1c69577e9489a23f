import pytest

from medtransfer.data.add import scan_to_manifest
from medtransfer.data.leaks import GateConfig, find_leaks, require_no_leaks
from medtransfer.data.sources import CovidCtSource, Skipped
from medtransfer.data.sources.covid_ct import patient_of, runs_of
from medtransfer.errors import DataError, LeakError

COVID = {
    "train": ["2020.03.13.20035212-p23-152.png", "2020.01.24.919183-p27-132.png", "PIIS0140673620303603%0.png"],
    "val": ["2020.03.13.20035212-p23-155.png"],
    "test": ["PIIS0140673620303604%1.png"],
}
OTHER = {"train": ["14.png", "14%0.jpg"], "val": ["14%1.jpg"], "test": ["112.png"]}


@pytest.fixture
def tree(write_images, text):
    for folder, lists in (("COVID", COVID), ("NonCOVID", OTHER)):
        for split, files in lists.items():
            text(f"Data-split/{folder}/{split}CT_{folder}.txt", "\r\n".join(files) + "\r\n\r\n")
            write_images(*(f"Images-processed/CT_{folder}/{file}" for file in files))


def test_lists_give_labels_and_official_splits(tmp_path, tree):
    scan = CovidCtSource(root=tmp_path).scan()
    assert scan.official_splits
    assert scan.classes == ("non-covid", "covid")
    expected = {file: ("covid", split) for split, files in COVID.items() for file in files}
    expected |= {file: ("non-covid", split) for split, files in OTHER.items() for file in files}
    assert {row["path"].split("/")[-1]: (row["label"], row["split"]) for row in scan.rows} == expected
    assert len(scan.metadata) == 6
    assert all((tmp_path / file).is_file() for file in scan.metadata)


def test_patients_that_the_official_splits_share_are_named(tmp_path, tree):
    overlaps = CovidCtSource(root=tmp_path).scan().known_overlaps
    assert overlaps.startswith("2 of 7 patients are in more than one official split")
    assert "covid/2020.03.13.20035212-p23" in overlaps
    assert "non-covid/14.jpg" in overlaps


@pytest.mark.parametrize(
    ("file", "patient"),
    [
        ("2020.02.10.20021584-p6-52%10.png", "2020.02.10.20021584-p6"),
        ("2020.02.26.20026989-p34-114_2%1.png", "2020.02.26.20026989-p34"),
        ("2020.03.12.20034686-p17-91-6.png", "2020.03.12.20034686-p17"),
        ("kjr-21-e24-p2-8.png", "kjr-21-e24-p2"),
        ("bmj.m606.full-p4-22%7.png", "bmj.m606.full-p4"),
        ("PIIS0140673620301549_0%1.png", "PIIS0140673620301549_0.png"),
        ("PIIS0140673620301549_1.png", "PIIS0140673620301549_1.png"),
        ("39%8.jpg", "39.jpg"),
        ("39.png", "39.png"),
    ],
)
def test_a_patient_is_document_and_token_or_figure_or_the_image(file, patient):
    assert patient_of(file) == patient


RUNS = {
    "train": ["114.png", "115.png", "118.png", "7.jpg", "8.jpg", "9.png"],
    "val": ["116.png"],
    "test": ["117.png", "120.png", "10.png", "8.png"],
}


@pytest.fixture
def numbered(write_images, text):
    """Non-COVID images by number: runs 114 to 118 and 8 to 10 are in several splits."""
    for split in RUNS:
        text(f"Data-split/COVID/{split}CT_COVID.txt", "")
    for split, files in RUNS.items():
        text(f"Data-split/NonCOVID/{split}CT_NonCOVID.txt", "\n".join(files))
        write_images(*(f"Images-processed/CT_NonCOVID/{file}" for file in files))


def test_consecutive_png_numbers_are_one_patient_over_all_splits_and_jpg_numbers_are_not(tmp_path, numbered):
    scan = CovidCtSource(root=tmp_path).scan()
    patients = {row["path"].rpartition("/")[2]: row["patient_id"] for row in scan.rows}
    run = dict.fromkeys((f"{n}.png" for n in range(114, 119)), "non-covid/114-118.png")
    run |= dict.fromkeys(("8.png", "9.png", "10.png"), "non-covid/8-10.png")
    alone = {file: f"non-covid/{file}" for file in ("120.png", "7.jpg", "8.jpg")}
    assert patients == run | alone
    assert scan.patients == "known"
    assert scan.known_overlaps == (
        "2 of 5 patients are in more than one official split: non-covid/114-118.png, non-covid/8-10.png"
    )


def test_an_absent_file_does_not_cut_its_run(tmp_path, numbered):
    (tmp_path / "Images-processed/CT_NonCOVID/116.png").unlink()
    patients = {row["patient_id"] for row in CovidCtSource(root=tmp_path).scan().rows}
    assert "non-covid/114-118.png" in patients


def test_runs_over_official_splits_are_listed_by_the_gate_and_do_not_close_it_where_declared(tmp_path, numbered):
    manifest, _ = scan_to_manifest(CovidCtSource(root=tmp_path), "ct")
    leaks = find_leaks(manifest)
    pairs = leaks[leaks["kind"] == "patient"]
    assert len(pairs) == 4  # train with val, train with test and val with test of one run; train with test of the other
    with pytest.raises(LeakError, match="2 patients"):
        require_no_leaks(pairs, GateConfig())
    require_no_leaks(pairs, GateConfig(allow_known_overlaps=("ct",)))


def test_names_that_are_not_a_png_number_are_in_no_run():
    assert runs_of(["1%0.png", "2.jpg", "x3.png", "4.png"]) == {"4.png": "4.png"}


def test_absent_repeated_and_unlisted_files_are_reported_with_their_row(tmp_path, tree, text, write_images):
    text("Data-split/COVID/valCT_COVID.txt", "absent.png\n\n../../secret.png\n2020.01.24.919183-p27-132.png\n")
    write_images("Images-processed/CT_NonCOVID/999.png")
    skipped = CovidCtSource(root=tmp_path).scan().skipped
    folder = "Images-processed/CT_COVID"
    assert set(skipped) == {
        Skipped(f"{folder}/absent.png", 1, "file is absent"),
        Skipped(f"{folder}/../../secret.png", 3, "path leaves the data set's folder"),
        Skipped(f"{folder}/2020.01.24.919183-p27-132.png", 4, "listed twice"),
        Skipped(f"{folder}/2020.03.13.20035212-p23-155.png", None, "in no split list"),
        Skipped("Images-processed/CT_NonCOVID/999.png", None, "in no split list"),
    }


def test_a_missing_list_is_an_error(tmp_path, tree):
    (tmp_path / "Data-split/NonCOVID/testCT_NonCOVID.txt").unlink()
    with pytest.raises(DataError, match=r"testCT_NonCOVID\.txt: no such list"):
        CovidCtSource(root=tmp_path).scan()
