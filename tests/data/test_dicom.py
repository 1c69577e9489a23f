"""DICOM to grey levels: photometric interpretation, slope, windows, compression; and nothing else of the header."""

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.processing import apply_voi_lut
from pydicom.uid import (
    MPEG2MPML,
    UID,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_fixtures import RAMP, SECRETS, write
from medtransfer.data.add import add_dataset
from medtransfer.data.arrays import PackConfig, pack_image
from medtransfer.data.dicom import TOP
from medtransfer.data.dicom_header import described, frames_of, write_without_identity
from medtransfer.data.images import read_image, window
from medtransfer.data.sources import ImageFolderSource
from medtransfer.errors import DataError


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


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_compression_changes_nothing(path, syntax):
    expected = read_image(write(path), channels=1)
    packed = dcmread(path)
    packed.compress(syntax)
    packed.save_as(path)
    assert np.array_equal(read_image(path, channels=1), expected)


def test_jpeg_ls_with_loss_is_as_near_as_it_was_told(path):
    write(path, RAMP[::-1] // 16, bits=8)
    packed = dcmread(path)
    packed.compress(JPEGLSNearLossless, jls_error=3)
    packed.save_as(path)
    stored = read_image(path, channels=1, raw=True)[0]
    assert 1 <= np.abs(stored - RAMP[::-1] // 16).max() <= 3


@pytest.mark.parametrize(
    ("syntax", "marker", "places", "code"),
    [(JPEGLSLossless, b"\xff\xf7", (5, 7), ">H"), (JPEG2000Lossless, b"\xff\x51", (6, 10, 22, 26), ">I")],
)
def test_compressed_data_larger_than_the_header_says_are_not_decoded(path, monkeypatch, syntax, marker, places, code):
    """A few hundred bytes that ask a decoder for gigabytes."""
    packed = dcmread(write(path))
    packed.compress(syntax)
    frame = bytearray(get_frame(packed.PixelData, 0, number_of_frames=1))
    for place in places:
        struct.pack_into(code, frame, frame.index(marker) + place, 20_000)
    refuse_without_decoding(packed, bytes(frame), path, monkeypatch)


def test_jpeg_ls_that_was_cut_short_is_not_decoded(path, monkeypatch):
    packed = dcmread(write(path))
    packed.compress(JPEGLSLossless)
    frame = get_frame(packed.PixelData, 0, number_of_frames=1)
    refuse_without_decoding(packed, frame[:265], path, monkeypatch)


def refuse_without_decoding(packed, frame, path, monkeypatch):
    packed.PixelData = encapsulate([frame])
    packed["PixelData"].is_undefined_length = True
    packed.save_as(path)
    monkeypatch.setattr("pydicom.pixels.utils.pixel_array", lambda *_, **__: pytest.fail("it was decoded"))
    for source in (path, path.read_bytes()):
        with pytest.raises(DataError, match="are damaged"):
            read_image(source, channels=1)


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
        ({"PixelData": b"\0" * 10}, r"its pixels \(Explicit VR Little Endian\) are damaged"),
        ({"WindowCenter": 0, "WindowWidth": 100, "Modality": "CT", "BitsStored": 99}, "damaged"),
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


def lut(values, *, bits=12):
    table = Dataset()
    table.LUTDescriptor = [len(values), 0, bits]
    table.LUTData = np.asarray(values, "<u2").tobytes()
    table.LUTExplanation = SECRETS[5]
    return [table]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "voi",
    [
        {"WindowCenter": 40, "WindowWidth": 400},
        {"WindowCenter": 1000.5, "WindowWidth": 1, "VOILUTFunction": "LINEAR"},
        {"WindowCenter": [300, 40], "WindowWidth": [1500, 400], "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 500, "WindowWidth": 700, "VOILUTFunction": "SIGMOID"},
        {"VOILUTSequence": lut(4095 - np.arange(4096)[::-1] ** 2 // 4096), "WindowCenter": 1, "WindowWidth": 2},
    ],
)
def test_windows_and_tables_are_those_of_pydicom(path, voi, signed):
    values = (RAMP.astype(np.int16) - 2000) if signed else RAMP
    header = dcmread(write(path, values, **voi))
    expected = np.asarray(apply_voi_lut(values, header, prefer_lut=True), np.float64)
    low, high = (-2048, 2047) if signed and "VOILUTSequence" not in voi else (0, 4095)
    np.testing.assert_allclose(read_image(path, channels=1)[0] / TOP, (expected - low) / (high - low), atol=1e-5)


@pytest.mark.parametrize(("centre", "width"), [(0, 0), (0, -5), (float("nan"), 5), (0, 0.5)])
def test_a_window_that_is_none_is_damage(path, centre, width):
    write(path, WindowCenter=centre, WindowWidth=width, VOILUTFunction="LINEAR" if width == 0.5 else "SIGMOID")
    with pytest.raises(DataError, match="damaged DICOM"):
        read_image(path, channels=1)


STACK = np.stack([RAMP, RAMP[::-1], RAMP // 2])


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_each_frame_of_a_file_is_an_image(path, syntax):
    write(path, STACK)
    if syntax:
        packed = dcmread(path)
        packed.compress(syntax)
        packed.save_as(path)
    for number, values in enumerate(STACK, 1):
        frame = read_image(path.with_name(f"a.dcm#{number}"), channels=1)[0]
        assert np.array_equal(frame, np.rint(values / 4095 * TOP).astype(np.uint16))
    for source in (path, path.read_bytes()):
        with pytest.raises(DataError, match="DICOM of 3 frames, expected one image; give the file to"):
            read_image(source, channels=1)
    with pytest.raises(DataError, match="frame 4 of a DICOM of 3"):
        read_image(path.with_name("a.dcm#4"), channels=1)


def test_frames_of_an_enhanced_image_have_slopes_and_windows_of_their_own(path):
    """Shared and per-frame functional groups, PS3.3 C.7.6.16: the slope of all, the window of each."""
    slope, shared, groups = Dataset(), Dataset(), []
    slope.RescaleSlope, slope.RescaleIntercept, slope.RescaleType = 2, -1000, SECRETS[5]
    shared.PixelValueTransformationSequence = [slope]
    for number in range(3):
        window_, group = Dataset(), Dataset()
        window_.WindowCenter, window_.WindowWidth, window_.WindowCenterWidthExplanation = number, 400, SECRETS[4]
        group.FrameVOILUTSequence = [window_]
        groups.append(group)
    sequences = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": groups}
    write(path, STACK, **sequences)
    write_without_identity(path, path.with_name("b.dcm"))
    content = path.with_name("b.dcm").read_bytes()
    assert not [secret for secret in SECRETS if secret.encode() in content]
    for file in "ab":
        frame = path.with_name(f"{file}.dcm#2")
        assert np.array_equal(read_image(frame, channels=1, raw=True)[0], STACK[1] * 2.0 - 1000)
        assert np.array_equal(read_image(frame, channels=1), window(STACK[1][None] * 2.0 - 1000, 0.5, 399, bits=16))
        assert described(frame)["window"] == "1/400 LINEAR"


def test_more_frames_than_are_read_stay_one_file_which_is_refused(path):
    write(path, NumberOfFrames=2_000_000_000)
    assert frames_of(path.parent, "a.dcm") == ["a.dcm"]
    with pytest.raises(DataError, match="2000000000 frames of 48×64 pixels, expected at most 4096 frames"):
        read_image(path, channels=1)


@pytest.mark.parametrize(
    ("syntax", "said"),
    [
        (
            JPEGLosslessSV1,
            r"no decoder for JPEG Lossless, .*; install pylibjpeg-libjpeg \(GPL\), or convert",
        ),
        (MPEG2MPML, "no decoder for MPEG2 Main Profile / Main Level is installed; convert it"),
        (UID("1.2.3.4711"), "no decoder for an unknown transfer syntax is installed; convert"),
    ],
)
def test_a_compression_without_decoder_names_itself_and_the_package(path, syntax, said):
    header = dcmread(write(path))
    header.PixelData = encapsulate([b"\0" * 100])
    header["PixelData"].is_undefined_length = True
    header.file_meta.TransferSyntaxUID = syntax
    header.save_as(path, implicit_vr=False, little_endian=True)
    with pytest.raises(DataError, match=said):
        read_image(path, channels=1)


def test_the_header_fills_view_laterality_and_window_with_what_the_standard_defines(path):
    write(path, ViewPosition="AP", ImageLaterality="L", WindowCenter=40, WindowWidth=350.5)
    assert described(path) == {"view": "AP", "laterality": "L", "window": "40/350.5 LINEAR"}
    write(path, ViewPosition="PLANTED^NAME", Laterality="U", VOILUTSequence=lut(range(4096)))
    assert described(path) == {"view": "", "laterality": "", "window": "table"}
    write_without_identity(path, path.with_name("b.dcm"))
    assert b"PLANTED" not in path.with_name("b.dcm").read_bytes()


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
