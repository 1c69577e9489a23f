"""DICOM files to grey levels (PS3.3 C.7.6.3, C.11.1 and C.11.2). Nothing of the header but ``KEPT`` is ever read.

Stored values become the modality's units (slope and intercept, or a table), then grey levels: by the file's own window
or table of values of interest, else over the whole range that the file can store. ``MONOCHROME1``, in which low values
are bright, is turned round. A CT without a window has no grey levels: its air, lung and bone do not fit into a screen.

Messages name the file and the element, never what an element holds.
"""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtransfer.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

TOP = 65_535
KEPT = (
    "SOPClassUID", "Modality", "ViewPosition", "ImageLaterality", "Laterality",
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing", "ImagerPixelSpacing",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence",
    "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "PixelData",
)  # fmt: skip
"""The allow-list: what pixels mean, and the view. No name, number, date, place, text or private element."""
_NESTED = frozenset({"LUTDescriptor", "LUTData", "ModalityLUTType"})


def is_dicom(source: Path | bytes) -> bool:
    """Whether a file, or an encoded image, has the preamble of DICOM."""
    if isinstance(source, bytes):
        return source[128:132] == b"DICM"
    try:
        with source.open("rb") as handle:
            return handle.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_dicom(source: Path | bytes, place: str, *, most_pixels: int, raw: bool = False) -> npt.NDArray[Any]:
    """Return the one image of a file as uint16 ``[height, width]``, the whole range of grey levels.

    Args:
        source: a file, or its bytes.
        place: name of the source in messages.
        most_pixels: a larger image is refused before it is decoded.
        raw: return float64 in the modality's units (Hounsfield units of a CT) instead, because a window follows.

    Raises:
        DataError: damaged, several frames, colour, too large, compressed in a way that no installed decoder knows, or a
            CT without a window.
    """
    from pydicom.pixels.processing import apply_modality_lut

    header = _header(source, place)
    _require_one_grey_image(header, place, most_pixels)
    try:
        values = np.asarray(apply_modality_lut(_pixels(header, place), header), np.float64)
        low, high = sorted(np.asarray(apply_modality_lut(_ends(header), header), np.float64).tolist())
        inverted = header.PhotometricInterpretation == "MONOCHROME1"
        if raw:
            return low + high - values if inverted else values
        levels = np.rint(np.clip(_shares(header, values, (low, high), place), 0, 1) * TOP).astype(np.uint16)
    except (AttributeError, IndexError, TypeError, ValueError):
        raise DataError(f"{place}: damaged DICOM: elements of its pixels contradict each other; export it again") from (
            None
        )
    return TOP - levels if inverted else levels


def write_without_identity(source: Path, target: Path) -> None:
    """Copy the elements of the allow-list and the pixels, as they are, to a new file with identifiers of its own.

    Raises:
        DataError: the file is damaged.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import generate_uid

    header, kept = _header(source, str(source)), Dataset()
    for name in KEPT:
        if name in header:
            kept[name] = header[name]
    for sequence in ("ModalityLUTSequence", "VOILUTSequence"):
        for item in kept.get(sequence, ()):
            for element in [each for each in item if each.keyword not in _NESTED]:
                del item[element.tag]
    content = str(len(header.PixelData)), str(header.get("Rows")), header.PixelData[:4096].hex()
    kept.SOPInstanceUID = generate_uid(entropy_srcs=list(content))
    kept.file_meta = FileMetaDataset()
    kept.file_meta.TransferSyntaxUID = header.file_meta.TransferSyntaxUID
    kept.file_meta.MediaStorageSOPClassUID = kept.get("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7")
    kept.file_meta.MediaStorageSOPInstanceUID = kept.SOPInstanceUID
    kept.save_as(target, enforce_file_format=True)


def _header(source: Path | bytes, place: str) -> "Dataset":
    try:
        from pydicom import config, dcmread
    except ImportError as error:
        raise DataError(f"{place}: DICOM needs the package pydicom; install it, or convert the image") from error
    config.settings.reading_validation_mode = config.IGNORE  # its warnings quote what the header holds
    try:
        header = dcmread(source if isinstance(source, Path) else BytesIO(source), specific_tags=list(KEPT))
        if "PixelData" not in header:
            raise DataError(f"{place}: DICOM without an image; leave it out")
        header.file_meta.TransferSyntaxUID  # noqa: B018  # absent in a damaged file
    except DataError:
        raise
    except Exception:  # a damaged header fails anywhere, and the message would quote it
        raise DataError(f"{place}: damaged DICOM, expected a whole file; export it again") from None
    return header


def _require_one_grey_image(header: "Dataset", place: str, most_pixels: int) -> None:
    frames, rows, columns = (int(header.get(name) or 0) for name in ("NumberOfFrames", "Rows", "Columns"))
    if frames > 1:
        raise DataError(f"{place}: DICOM of {frames} frames, expected one image; export the frames one by one")
    if rows * columns * max(frames, 1) > most_pixels or not rows * columns:
        raise DataError(f"{place}: DICOM of {columns}×{rows} pixels, expected 1 to {most_pixels}; make it smaller")
    if header.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"{place}: DICOM in colour, expected MONOCHROME1 or MONOCHROME2; convert the image")


def _pixels(header: "Dataset", place: str) -> npt.NDArray[Any]:
    try:
        return header.pixel_array
    except Exception:  # every decoder has errors of its own
        name = header.file_meta.TransferSyntaxUID.name
        raise DataError(
            f"{place}: no decoder here reads its pixels ({name}), or they are damaged; convert it to an uncompressed "
            "DICOM, or install pylibjpeg-libjpeg (GPL) for JPEG Lossless and JPEG-LS"
        ) from None


def _ends(header: "Dataset") -> npt.NDArray[Any]:
    """Return the lowest and the highest value that the file can store."""
    bits = int(header.BitsStored)
    first = -(2 ** (bits - 1)) if header.PixelRepresentation else 0
    return np.array([first, first + 2**bits - 1])


def _shares(
    header: "Dataset", values: npt.NDArray[np.float64], ends: tuple[float, float], place: str
) -> npt.NDArray[np.float64]:
    """Return grey levels on 0–1 (values outside are to be clipped): PS3.3 C.11.2.1."""
    if "VOILUTSequence" in header:
        from pydicom.pixels.processing import apply_voi

        top = float(2 ** int(header.VOILUTSequence[0].LUTDescriptor[2]) - 1)
        levels: npt.NDArray[np.float64] = np.asarray(apply_voi(values.astype(np.int64), header), np.float64)
        return levels / top
    if header.get("WindowWidth") is not None and header.get("WindowCenter") is not None:
        centre, width = (float(np.ravel(header[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
        kind = header.get("VOILUTFunction", "LINEAR")
        if kind == "SIGMOID":
            return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)))
        if kind == "LINEAR":
            centre, width = centre - 0.5, width - 1
        return (values - centre) / max(width, 1e-6) + 0.5
    if header.get("Modality") == "CT":
        raise DataError(
            f"{place}: a CT without a window, whose grey levels are not defined; use a model whose pack.window says "
            "which Hounsfield units it reads, or export the slice with a window"
        )
    return (values - ends[0]) / max(ends[1] - ends[0], 1)
