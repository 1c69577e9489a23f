"""DICOM files from `data add` to the server's reply: what names a patient is in no byte that any verb writes or says.

Parquet is compressed, so tables are searched as text; also searched for are plain hashes of the ids, which anybody who
can guess an id could look up.
"""

import gzip
import hashlib
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
from pydicom import Dataset, dcmread
from starlette.testclient import TestClient

from dicom_fixtures import write
from medtransfer.cli import run
from medtransfer.serving.app import Limits, build_app
from medtransfer.stages.serving import Served

STUDY, NETWORK, MODEL = "attentive_transfer", "resnet18_attn1", "models:/covid-ct@champion"
UID = "1.2.826.0.1.3680043.8.498.47114711"
COUNTS = {"train": 16, "val": 10, "test": 10}
HEADER = {
    "PatientName": "QUOXBERRY^JANE",
    "PatientBirthDate": "19440607",
    "PatientComments": "Quoxberry comment of the patient",
    "InstitutionName": "St. Quoxberry Hospital",
    "InstitutionAddress": "7 Quoxberry Road",
    "ReferringPhysicianName": "QUOXBERRY^REFERRER",
    "PerformingPhysicianName": "QUOXBERRY^PERFORMER",
    "OperatorsName": "QUOXBERRY^OPERATOR",
    "AccessionNumber": "ACC-QUOXBERRY-9",
    "StudyDescription": "planted study",
    "SeriesDescription": "planted series",
    "StationName": "QUOXBERRYSTATION",
    "DeviceSerialNumber": "SN-QUOXBERRY-5",
    "StudyInstanceUID": f"{UID}.1",
    "SeriesInstanceUID": f"{UID}.2",
    "ImageComments": "planted image comment",
    "ViewPosition": "QUOXBERRY VIEW",
    "RescaleType": "QUOXBERRY UNIT",
}
IDS = [f"MRN-{4_711_000 + number}" for number in range(sum(COUNTS.values()))]
SECRETS = [
    *HEADER.values(),
    UID,
    "QUOXBERRY",
    "Quoxberry",
    "private planted",
    "preamble planted",
    "explained by planted",
]


def slice_of(path, number, *, frames=1):
    """Write noise of 12 bits in Hounsfield units with a window, and everything that a header can give away."""
    draw = np.random.default_rng(number)
    values = draw.integers(0, 2048, (frames, 32, 32)).astype(np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, values if frames > 1 else values[0], Modality="CT", **HEADER)
    header = dcmread(path)
    header.PatientID, header.SOPInstanceUID = IDS[number % len(IDS)], f"{UID}.3.{number}"
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.file_meta.SourceApplicationEntityTitle = "QUOXBERRYSOURCE"
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    header.WindowCenter, header.WindowWidth, header.WindowCenterWidthExplanation = 0, 2048, "explained by planted"
    nested = Dataset()
    nested.PatientName, nested.RequestedProcedureDescription = HEADER["PatientName"], "planted procedure"
    header.RequestAttributesSequence = [nested]
    block = header.private_block(0x0011, "private planted maker", create=True)
    block.add_new(1, "LO", "private planted")
    header.preamble = b"preamble planted".ljust(128, b"\0")
    header.save_as(path)
    return path


def archive(root):
    """Write an export: slices in folders, a torn file, one of another modality, a DICOMDIR, and the labels by UID."""
    rows, number = ["image,label,split"], 0
    for split, count in COUNTS.items():
        for _ in range(count):
            slice_of(root / f"series{number % 5}/{number}.dcm", number)
            rows.append(f"{UID}.3.{number},{('non-covid', 'covid')[number % 2]},{split}")
            number += 1
    (root / "torn.dcm").write_bytes((root / "series0/0.dcm").read_bytes()[:-900])
    directory = dcmread(slice_of(root / "DICOMDIR", 900))
    del directory.PixelData
    directory.save_as(root / "DICOMDIR")
    rows += [f"{UID}.3.999,covid,train", "torn.dcm,covid,train", "DICOMDIR,covid,train"]
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


def found_in(folder, said):
    """Return the secrets that occur in any file below a folder, or in what was said, with the places."""
    ids = [*IDS, *(f"{UID}.3.{number}" for number in range(40))]
    digests = [make(name.encode()).hexdigest() for name in ids for make in (hashlib.sha256, hashlib.sha1, hashlib.md5)]
    wanted = [text.encode() for text in (*SECRETS, *ids, *digests)]
    wanted += [secret.encode("utf-16-le") for secret in SECRETS]
    hits = []
    for place, content in contents(folder, said):
        hits += [(place, secret) for secret in wanted if secret in content or secret in place.encode()]
    return hits


def contents(folder, said):
    yield "said", said.encode()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield str(file.relative_to(folder)), file.read_bytes()
        if file.suffix == ".parquet":
            yield f"{file.name} as text", pd.read_parquet(file).to_csv().encode()
        if file.suffix == ".gz":
            yield f"{file.name} as text", gzip.decompress(file.read_bytes())
        if zipfile.is_zipfile(file):
            for name in (inside := zipfile.ZipFile(file)).namelist():
                yield f"{file.name}/{name}", inside.read(name)


def test_the_search_finds_what_is_planted(tmp_path):
    slice_of(tmp_path / "a.dcm", 3)
    pd.DataFrame({"patient_id": [IDS[0], hashlib.md5(IDS[1].encode()).hexdigest()]}).to_parquet(tmp_path / "t.parquet")
    found = {secret for _, secret in found_in(tmp_path, "for ACC-QUOXBERRY-9")}
    assert {secret.encode() for secret in (*SECRETS, IDS[3], IDS[0])} <= found
    assert hashlib.md5(IDS[1].encode()).hexdigest().encode() in found


@pytest.mark.slow
def test_nothing_that_names_a_patient_is_written_or_said(toy, tmp_path_factory, capsys, caplog):
    outside = archive(tmp_path_factory.mktemp("archive"))
    single = slice_of(outside.parent / "single.dcm", 500)
    several = slice_of(outside.parent / "new/several.dcm", 501, frames=3)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=toy.folder, check=True)
    (toy.folder / "data.dvc").write_text("outs: []\n")
    source = {"name": "dicom", "root": "datasets/mine", "classes": ["non-covid", "covid"], "modality": "CT"}
    toy.params["datasets"]["ct"] |= {"source": source, "pointer": "datasets/mine.dvc"}
    toy.write_params()
    said = []

    def does(*words, code=0):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            assert run(words) == code, f"{words}: {capsys.readouterr().err[-2000:]}"
        out = capsys.readouterr()
        said.append("\n".join((out.out, out.err, *(str(each.message) for each in warned))))
        return said[-1]

    added = does("data", "add", "dicom", "--from", str(outside), "--name", "mine")
    assert "mine: 36 images of 36 patients" in added
    assert "no file has this SOPInstanceUID" in added
    assert "DICOM without an image" in added
    assert "DICOM: grey levels by the files' own windows (images): 0/2048 LINEAR (36)" in does("prepare", "ct")
    for words in (
        ["gate"],
        ["fit", STUDY, "start", "all"],
        ["fit", STUDY, "finetune", NETWORK, "--condition", "none"],
        *([verb, STUDY] for verb in ("predict", "score", "audit", "register")),
    ):
        does(*words)
    manifest = pd.read_parquet(toy.folder / "out/datasets/ct/manifest.parquet")
    assert manifest["patient_id"].nunique() == 36
    assert set(manifest["view"]) == {""}
    does("evaluate", "--model", MODEL, "--images", str(several.parent))
    answers = pd.read_csv(toy.folder / "out/evaluate/predictions.csv")
    assert list(answers["file"]) == ["several.dcm#1", "several.dcm#2", "several.dcm#3"]
    does("evaluate", "--model", MODEL, "--images", str(outside), "--out", "out/all")
    does("predict", str(single), "--model", MODEL)
    does("predict", str(several), "--model", MODEL, code=2)
    does("evaluate", "--model", MODEL, "--images", str(outside / "torn.dcm"), "--out", "out/torn", code=2)
    served = Served(MODEL)
    images = [file.read_bytes() for file in (single, several, outside / "torn.dcm")]
    with TestClient(build_app(served, served.about, Limits(hosts=("testserver",)), page=served.page)) as client:
        replies = [client.post("/predict", content=image) for image in images]
        assert [reply.status_code for reply in replies] == [200, 400, 400]
        assert "DICOM of 3 frames, expected one image" in replies[1].text
        said += [reply.text for reply in replies] + [client.get(page).text for page in ("/", "/metrics")]
    assert len(said) > 15
    assert found_in(toy.folder, "\n".join((*said, caplog.text))) == []
