"""DICOM files to grey levels (PS3.3 C.7.6.3, C.11.1 and C.11.2).

Stored values become the modality's units (slope and intercept, or a table), then grey levels: by the file's own window
or table of values of interest, else over the whole range that the file can store. ``MONOCHROME1``, in which low values
are bright, is turned round. A CT without a window has no grey levels: its air, lung and bone do not fit into a screen.
A frame of a file of several is read alone.

Messages name the file and the element, never what an element holds.
"""

import struct
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtransfer.data.dicom_header import (
    MAX_FILE_PIXELS,
    MAX_FRAMES,
    declared_window,
    frame_count,
    of_frame,
    read_header,
)
from medtransfer.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

TOP = 65_535
_LIBJPEG = "pylibjpeg-libjpeg (GPL)"
_DECODERS = {
    "1.2.840.10008.1.2.4.50": _LIBJPEG,
    "1.2.840.10008.1.2.4.51": _LIBJPEG,
    "1.2.840.10008.1.2.4.57": _LIBJPEG,
    "1.2.840.10008.1.2.4.70": _LIBJPEG,
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg-openjpeg",
}
"""Transfer syntax → the package that reads all of it; others are read by pydicom itself, or by nothing here."""
_JPEG_LS, _JPEG_2000 = "JPEG-LS", "JPEG 2000"
"""Beginnings of the names of transfer syntaxes whose decoders take the size of the image from the compressed data."""


def read_dicom(
    source: Path | bytes, place: str, *, most_pixels: int, raw: bool = False, frame: int | None = None
) -> npt.NDArray[Any]:
    """Return one image of a file as uint16 ``[height, width]``, the whole range of grey levels.

    Args:
        source: a file, or its bytes.
        place: name of the source in messages.
        most_pixels: a larger image is refused before it is decoded.
        raw: return float64 in the modality's units (Hounsfield units of a CT) instead, because a window follows.
        frame: which of several, counted from 1; None where the file must hold one image.

    Raises:
        DataError: damaged, several frames and none is named, colour, too large, compressed in a way that no installed
            decoder knows, or a CT without a window.
    """
    from pydicom.pixels.processing import apply_modality_lut

    header = read_header(source, place)
    try:
        _require_grey_image(header, place, most_pixels, frame)
        header = of_frame(header, frame or 1)
        values = np.asarray(apply_modality_lut(_pixels(source, header, place, frame or 1), header), np.float64)
        low, high = sorted(np.asarray(apply_modality_lut(_ends(header), header), np.float64).tolist())
        inverted = header.PhotometricInterpretation == "MONOCHROME1"
        if raw:
            return low + high - values if inverted else values
        levels = np.rint(np.clip(_shares(header, values, (low, high), place), 0, 1) * TOP).astype(np.uint16)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise DataError(f"{place}: damaged DICOM: elements of its pixels contradict each other; export it again") from (
            None
        )
    return TOP - levels if inverted else levels


def _require_grey_image(header: "Dataset", place: str, most_pixels: int, frame: int | None) -> None:
    frames, rows, columns = frame_count(header), int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if frames > MAX_FRAMES or (frames > 1 and rows * columns * frames > MAX_FILE_PIXELS):
        raise DataError(
            f"{place}: DICOM of {frames} frames of {columns}×{rows} pixels, expected at most {MAX_FRAMES} frames and "
            f"{MAX_FILE_PIXELS} pixels; split it"
        )
    if frame is None and frames > 1:
        raise DataError(
            f"{place}: DICOM of {frames} frames, expected one image; give the file to medtransfer evaluate, which "
            "answers frame by frame, name one as scan.dcm#1 where a path is asked for, or export the frames one by one"
        )
    if frame is not None and frame > frames:
        raise DataError(f"{place}: frame {frame} of a DICOM of {frames}; name one that is there")
    if rows * columns > most_pixels or not rows * columns:
        raise DataError(f"{place}: DICOM of {columns}×{rows} pixels, expected 1 to {most_pixels}; make it smaller")
    if header.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"{place}: DICOM in colour, expected MONOCHROME1 or MONOCHROME2; convert the image")


def _pixels(source: Path | bytes, header: "Dataset", place: str, number: int) -> npt.NDArray[Any]:
    """Return the stored values of one frame; no other frame of a file is read.

    Raises:
        DataError: no decoder, or damaged.
    """
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import AllTransferSyntaxes

    syntax = header.file_meta.TransferSyntaxUID
    name = syntax.name if syntax in AllTransferSyntaxes else "an unknown transfer syntax"
    try:
        there = get_decoder(syntax).is_available
    except NotImplementedError:  # video, and what the standard does not know
        there = False
    if not there:
        remedy = f"install {_DECODERS[syntax]}, or " if syntax in _DECODERS else ""
        raise DataError(f"{place}: no decoder for {name} is installed; {remedy}convert it to an uncompressed DICOM")
    try:
        if name.startswith((_JPEG_LS, _JPEG_2000)):
            _require_coded_size(_coded_frame(source, header, number), (int(header.Rows), int(header.Columns)), name)
        return pixel_array(source if isinstance(source, Path) else BytesIO(source), index=number - 1)
    except Exception:  # every decoder has errors of its own
        raise DataError(
            f"{place}: its pixels ({name}) are damaged, or of a kind that the installed decoders do not read; export "
            "it again as an uncompressed DICOM"
        ) from None


def _coded_frame(source: Path | bytes, header: "Dataset", number: int) -> bytes:
    """Return the compressed data of one frame."""
    from pydicom import dcmread
    from pydicom.encaps import get_frame

    with source.open("rb") if isinstance(source, Path) else BytesIO(source) as file:
        dcmread(file, stop_before_pixels=True)
        file.seek(12, 1)  # tag, VR and length of the pixel data (PS3.5 7.1.2)
        return get_frame(file, number - 1, number_of_frames=frame_count(header))


def _require_coded_size(frame: bytes, size: tuple[int, int], name: str) -> None:
    """Refuse compressed data of another size than the header's, for decoders allocate what the data say, or cut short.

    Raises:
        ValueError: another size, no end, or no size where the standard has it (ISO/IEC 14495-1 C.2.2, ISO/IEC 15444-1
            A.5.1; nothing is before the data: PS3.5 A.4.3, A.4.4).
    """
    if name.startswith(_JPEG_2000):
        right, bottom, left, top = struct.unpack_from(">4I", frame, 8)
        found = (bottom - top, right - left) if frame.startswith(b"\xff\x4f\xff\x51") else None
    else:
        place = 2
        while frame[place : place + 2] != b"\xff\xf7":
            place += 2 + struct.unpack_from(">H", frame, place + 2)[0]
        whole = frame.rstrip(b"\0").endswith(b"\xff\xd9")  # its decoder takes seconds to find that an end is missing
        found = struct.unpack_from(">2H", frame, place + 5) if whole else None
    if found != size:
        raise ValueError(f"compressed as {found}, expected {size}")


def _ends(header: "Dataset") -> npt.NDArray[Any]:
    """Return the lowest and the highest value that the file can store."""
    bits = int(header.BitsStored)
    first = -(2 ** (bits - 1)) if header.PixelRepresentation else 0
    return np.array([first, first + 2**bits - 1])


def _shares(
    header: "Dataset", values: npt.NDArray[np.float64], ends: tuple[float, float], place: str
) -> npt.NDArray[np.float64]:
    """Return grey levels on 0–1 (values outside are to be clipped): PS3.3 C.11.2.1."""
    if header.get("VOILUTSequence"):
        from pydicom.pixels.processing import apply_voi

        top = float(2 ** int(header.VOILUTSequence[0].LUTDescriptor[2]) - 1)
        levels: npt.NDArray[np.float64] = np.asarray(apply_voi(values.astype(np.int64), header), np.float64)
        return levels / top
    if window := declared_window(header):
        centre, width, function = window
        if function == "SIGMOID":
            return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
        if function == "LINEAR":
            centre, width = centre - 0.5, width - 1
        if width == 0:
            return (values > centre).astype(np.float64)
        return (values - centre) / width + 0.5
    if header.get("Modality") == "CT":
        raise DataError(
            f"{place}: a CT without a window, whose grey levels are not defined; use a model whose pack.window says "
            "which Hounsfield units it reads, or export the slice with a window"
        )
    return (values - ends[0]) / max(ends[1] - ends[0], 1)
