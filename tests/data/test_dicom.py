"""DICOM to grey levels: photometric interpretation, slope, windows, compression; and nothing else of the header."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

from medtransfer.data.add import add_dataset
from medtransfer.data.arrays import PackConfig, pack_image
from medtransfer.data.dicom import TOP
from medtransfer.data.images import read_image, window
from medtransfer.data.sources import ImageFolderSource
from medtransfer.errors import DataError

RAMP = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
"""12 bits, lowest 0, highest 3071 of 4095."""
SECRETS = ("PLANTED^NAME", "ID-4711-X", "19440607", "St. Planted Hospital", "private planted", "planted comment")


def write(path, values=RAMP, photometric="MONOCHROME2", *, bits=12, **elements):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
    made.Modality = "DX"
    made.PatientName, made.PatientID, made.PatientBirthDate, made.InstitutionName = SECRETS[:4]
    made.add_new(0x00091010, "LO", SECRETS[4])
    made.add_new(0x00204000, "LT", SECRETS[5])
    made.set_pixel_data(values, photometric, bits)
    for name, value in elements.items():
        setattr(made, name, value)
    made.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.dcm"


def test_without_a_window_the_whole_stored_range_is_the_whole_grey_range(path):
    expected = np.rint(RAMP / 4095 * TOP).astype(np.uint16)
    assert np.array_equal(read_image(write(path), channels=1)[0], expected)
    assert np.array_equal(read_image(path.read_bytes(), channels=3), np.repeat(expected[None], 3, 0))


def test_low_values_are_bright_in_monochrome1(path):
    usual = read_image(write(path), channels=1)
    assert np.array_equal(read_image(write(path, photometric="MONOCHROME1"), channels=1), TOP - usual)


def test_slope_and_intercept_come_before_the_window(path):
    write(path, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=[-600, 40], WindowWidth=[1500, 400])
    units = RAMP * 2.0 - 1000
    assert np.array_equal(read_image(path, channels=1, raw=True)[0], units)
    assert np.array_equal(read_image(path, channels=1), window(units[None], -600.5, 1499, bits=16))
    packed = pack_image(path, PackConfig(size=48, window=(-600.0, 1500.0)))
    assert packed.dtype == np.uint8
    write(path, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=0, WindowWidth=100, VOILUTFunction="SIGMOID")
    middle = read_image(path, channels=1)[0].ravel()[500]
    assert middle == round(TOP / 2)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_lossless_compression_changes_nothing(path, syntax):
    expected = read_image(write(path), channels=1)
    packed = dcmread(path)
    packed.compress(syntax)
    packed.save_as(path)
    assert np.array_equal(read_image(path, channels=1), expected)


def test_a_real_scanner_s_slice_is_in_hounsfield_units():
    file = Path(get_testdata_file("CT_small.dcm"))
    units = read_image(file, channels=1, raw=True)
    assert units.shape == (1, 128, 128)
    assert units.min() >= -1024
    with pytest.raises(DataError, match="a CT without a window"):
        read_image(file, channels=1)


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"NumberOfFrames": 3}, "DICOM of 3 frames, expected one image"),
        ({"Rows": 65_000, "Columns": 65_000}, "65000×65000 pixels"),
        ({"PhotometricInterpretation": "RGB"}, "in colour"),
        ({"PixelData": b"\0" * 10}, "no decoder here reads its pixels"),
        ({"WindowCenter": 0, "WindowWidth": 100, "Modality": "CT", "BitsStored": 99}, "no decoder|damaged"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_quotes_nothing(path, elements, said):
    with pytest.raises(DataError, match=said) as failed:
        read_image(write(path, **elements), channels=1)
    assert not [secret for secret in SECRETS if secret in str(failed.value)]
    assert failed.value.__cause__ is None


def test_a_truncated_file_and_a_file_without_image(path):
    path.write_bytes(write(path).read_bytes()[:400])
    with pytest.raises(DataError, match="DICOM"):
        read_image(path, channels=1)
    path.write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(DataError, match="without an image"):
        read_image(path, channels=1)


def test_names_never_leave_the_file(tmp_path, capsys, caplog):
    """Planted names are in no byte of what adding a data set writes, says or logs, and the pixels are the same."""
    for label in "ab":
        (tmp_path / "in" / label).mkdir(parents=True)
        write(tmp_path / "in" / label / "1.dcm", RAMP + ord(label), WindowCenter=1000, WindowWidth=900)
    report = add_dataset(ImageFolderSource(root=tmp_path / "in", modality="CXR"), "mine", copy_to=tmp_path / "datasets")
    assert report.images == 2
    said = capsys.readouterr()
    stored = [file for file in (tmp_path / "datasets").rglob("*") if file.is_file()]
    assert len(stored) == 3
    texts = [file.read_bytes() for file in stored] + [text.encode() for text in (*said, caplog.text, report.to_text())]
    assert not [secret for secret in SECRETS for text in texts if secret.encode() in text]
    for label in "ab":
        first, second = (read_image(tmp_path / f / label / "1.dcm", channels=1) for f in ("in", "datasets/mine"))
        assert np.array_equal(first, second)
