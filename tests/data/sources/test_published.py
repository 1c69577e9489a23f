"""Each adapter on stand-ins for the complete published lists: counts per class and split (reference, section 5)."""

from collections import Counter

import pytest

from medtransfer.data.sources import ActualmedSource, BrixiaSource, CovidCtSource, CovidxSource

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
