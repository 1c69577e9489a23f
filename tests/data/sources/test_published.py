"""Each adapter on stand-ins for the complete published lists: counts per class and split (reference, section 5)."""

from collections import Counter
from pathlib import Path

import pytest

from medtransfer.data.sources import (
    ActualmedSource,
    BrixiaSource,
    ChestXray14Source,
    ChexpertSource,
    CovidCtSource,
    CovidxSource,
    Figure1Source,
)
from medtransfer.data.sources.chestxray14 import FINDINGS as NIH
from medtransfer.data.sources.chexpert import FINDINGS, SLUGS

TRAIN = {"3": (253, 5451, 7966), "4": (473, 5459, 7966), "5": (517, 5475, 7966), "7A": (3, 2, 2)}
"""COVIDx version → training images of COVID-19, pneumonia and normal; of V7A the structure alone is asserted."""
WORDS = {"covid": "COVID-19", "pneumonia": "pneumonia", "normal": "normal"}
WITH_SOURCE = {"covid": 100, "pneumonia": 3, "normal": 0}
"""Of 100 test lines of each class, those that name a source; the other 197 have three fields."""


def fill(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


@pytest.fixture(scope="module")
def covidx(tmp_path_factory):
    root = tmp_path_factory.mktemp("covidx")
    most = [max(counts) for counts in zip(*TRAIN.values(), strict=True)]
    fill(root / "train", (f"{c}{n}.png" for c, count in zip(WORDS, most, strict=True) for n in range(count)))
    fill(root / "test", (f"{c}{n}.png" for c in WORDS for n in range(100)))
    (root / "labels").mkdir()
    test = [
        f"t{label} {n} {label}{n}.png {word}" + " cohen" * (n < WITH_SOURCE[label])
        for label, word in WORDS.items()
        for n in range(100)
    ]
    for version, counts in TRAIN.items():
        train = [
            f"{label} {n} {label}{n}.png {WORDS[label]} rsna"
            for label, count in zip(WORDS, counts, strict=True)
            for n in range(count)
        ]
        for split, lines in (("train", train), ("test", test)):
            (root / f"labels/{split}_COVIDx{version}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("version", TRAIN)
def test_covidx(covidx, version):
    scan = CovidxSource(root=covidx, version=version).scan()
    assert scan.skipped == []
    expected = {("train", label): count for label, count in zip(WORDS, TRAIN[version], strict=True)}
    expected |= {("test", label): 100 for label in WORDS}
    assert Counter((row["split"], row["label"]) for row in scan.rows) == expected
    assert Counter(row["source"] for row in scan.rows if row["split"] == "test") == {"": 197, "cohen": 103}


def test_covid_ct(tmp_path):
    counts = {"COVID": {"train": 191, "val": 60, "test": 98}, "NonCOVID": {"train": 234, "val": 58, "test": 105}}
    for folder, splits in counts.items():
        for split, count in splits.items():
            names = [f"{split}%{n}.png" for n in range(count)]
            fill(tmp_path / f"Images-processed/CT_{folder}", names)
            (tmp_path / f"Data-split/{folder}").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"Data-split/{folder}/{split}CT_{folder}.txt").write_text("\n".join(names))
    scan = CovidCtSource(root=tmp_path).scan()
    assert scan.skipped == []
    assert Counter((row["split"], row["label"]) for row in scan.rows) == {
        (split, label): counts[folder][split]
        for folder, label in (("COVID", "covid"), ("NonCOVID", "non-covid"))
        for split in counts[folder]
    }


def test_actualmed(tmp_path):
    findings = ["COVID-19"] * 58 + ["No finding"] * 127 + [""] * 53
    fill(tmp_path / "images", (f"{n}.png" for n in range(238)))
    lines = [f"{n // 2},{f},{'PA' if n < 155 else 'AP'},X-ray,{n}.png" for n, f in enumerate(findings)]
    (tmp_path / "metadata.csv").write_text("\n".join(["patientid,finding,view,modality,imagename", *lines]))
    scan = ActualmedSource(root=tmp_path).scan()
    assert Counter(row["label"] for row in scan.rows) == {"covid": 58, "normal": 127}
    assert Counter(row["view"] for row in scan.rows) == {"PA": 155, "AP": 30}
    assert len(scan.skipped) == 53


def test_brixia(tmp_path):
    header = ["filename", *(f"{r}-{z}" for r in "SJ" for z in (*"ABCDEF", "Global"))]
    rows = [[f"{n}.jpg", *map(str, [n % 4, 0, 1, 2, 3, 0, n % 4 + 6] * 2)] for n in range(192)]
    fill(tmp_path / "covid-chestxray-dataset/images", (f"{n}.jpg" for n in range(192)))
    images = [f"{n},COVID-19,PA,images,{n}.jpg" for n in range(192)]
    metadata = "\n".join(["patientid,finding,view,folder,filename", *images])
    (tmp_path / "covid-chestxray-dataset/metadata.csv").write_text(metadata)
    (tmp_path / "brixia-cohen").mkdir()
    table = "\n".join([",".join(header), *(",".join(row) for row in rows)])
    (tmp_path / "brixia-cohen/public-annotations.csv").write_bytes(table.encode("utf-8-sig"))
    scan = BrixiaSource(root=tmp_path, zones="score").scan()
    assert len(scan.rows) == 192
    assert Counter(row["zone_0"] for row in scan.rows) == {0: 48, 1: 48, 2: 48, 3: 48}


CHEXPERT_VIEWS = {"AP": 161_590, "PA": 29_420, "LL": 16, "RL": 1, "lateral": 32_387}
"""View → rows of CheXpert's train.csv (reference, P-4)."""


@pytest.mark.slow
def test_chexpert(tmp_path, monkeypatch):
    """All 223,414 rows of 64,540 patients; the 14 findings take turns, with a value, uncertain and blank."""
    header = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]
    views = [view for view, count in CHEXPERT_VIEWS.items() for _ in range(count)]

    def line(number, view, folder):
        patient, study = number % 64_540 + 1, number // 64_540 + 1
        kind, name = ("Lateral", "") if view == "lateral" else ("Frontal", view)
        cells = [""] * len(FINDINGS)
        cells[number % 14] = ("1.0", "-1.0", "1.0", "")[number // 14 % 4]
        path = f"CheXpert-v1.0-small/{folder}/patient{patient:05}/study{study}/view1_{kind.lower()}.jpg"
        return ",".join([path, "Female", "68", kind, name, *cells])

    for table, rows in (("train", views), ("valid", views[:234])):
        lines = [line(number, view, table) for number, view in enumerate(rows)]
        (tmp_path / f"{table}.csv").write_text("\n".join([",".join(header), *lines]))
    monkeypatch.setattr(Path, "is_file", lambda self: True)  # the lists are what is read, not 223,648 files
    scan = ChexpertSource(root=tmp_path, uncertain="mixed").scan()
    assert scan.skipped == []
    assert Counter(row["split"] for row in scan.rows) == {"train": 223_414, "test": 234}
    train = [row for row in scan.rows if row["split"] == "train"]
    assert Counter(row["view"] for row in train) == CHEXPERT_VIEWS
    assert len({row["patient_id"] for row in train}) == 64_540
    for place, slug in enumerate(SLUGS):
        turns = [number // 14 % 4 for number in range(place, 223_414, 14)]
        uncertain = turns.count(1) if slug in ("edema", "atelectasis") else 0
        assert sum(row[f"y_{slug}"] for row in train) == turns.count(0) + turns.count(2) + uncertain


def test_chestxray14(tmp_path):
    """The structure: twelve folders, both official lists, every finding alone, all together, and none."""
    labels = [*NIH, "|".join(NIH), "No Finding"] * 12
    names = [f"{number // 3:08}_{number % 3:03}.png" for number in range(len(labels))]
    for folder in range(12):
        fill(tmp_path / f"images_{folder + 1:03}/images", names[folder * 16 : folder * 16 + 16])
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    lines = [
        f"{name},{label},{number % 3},{number // 3},58,M,{('PA', 'AP')[number % 2]},"
        for number, (name, label) in enumerate(zip(names, labels, strict=True))
    ]
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text("\n".join([header, *lines]) + "\n")
    (tmp_path / "train_val_list.txt").write_text("\n".join(names[:144]))
    (tmp_path / "test_list.txt").write_text("\n".join(names[144:]) + "\n")
    scan = ChestXray14Source(root=tmp_path).scan()
    assert scan.skipped == []
    assert scan.known_overlaps == ""
    assert Counter(row["split"] for row in scan.rows) == {"train": 144, "test": 48}
    for finding in NIH:
        having = Counter(row["split"] for row in scan.rows if row[f"y_{finding.lower()}"] == 1)
        assert having == {"train": 18, "test": 6}
    assert sum(all(row[f"y_{name.lower()}"] == 0 for name in NIH) for row in scan.rows) == 12
    assert Counter(row["view"] for row in scan.rows) == {"PA": 96, "AP": 96}


def test_figure1(tmp_path):
    """The structure: files are named like patients, ``.jpg`` or ``.png``; a view may be blank."""
    findings = ["COVID-19"] * 6 + ["Pneumonia"] * 3 + ["No finding"] * 2 + [""]
    fill(tmp_path / "images", (f"COVID-{n:05}.{('jpg', 'png')[n % 2]}" for n in range(12)))
    views = ("PA", "AP", "")
    lines = [f"COVID-{n:05},,,{finding},{views[n % 3]},X-ray" for n, finding in enumerate(findings)]
    (tmp_path / "metadata.csv").write_text("\n".join(["patientid,offset,sex,finding,view,modality", *lines]))
    scan = Figure1Source(root=tmp_path).scan()
    assert Counter(row["label"] for row in scan.rows) == {"covid": 6, "pneumonia": 3, "normal": 2}
    assert Counter(row["view"] for row in scan.rows) == {"PA": 4, "AP": 4, "": 3}
    assert {row["path"].rpartition(".")[2] for row in scan.rows} == {"jpg", "png"}
    assert len(scan.skipped) == 1
