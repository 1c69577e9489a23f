"""Headers of DICOM files: the allow-list, the frames of a file, what of a header goes into the manifest.

Messages name the file and the element, never what an element holds. Codes count only where the standard defines them,
so that text in their place goes nowhere.
"""

import re
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtransfer.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

KEPT = (
    "SOPClassUID", "Modality", "ViewPosition", "ImageLaterality", "Laterality",
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing", "ImagerPixelSpacing",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "VOILUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PixelData",
)  # fmt: skip
"""The allow-list: what pixels mean, and the view. No name, number, date, place, text or private element."""
NESTED = frozenset(
    {
        "LUTDescriptor", "LUTData", "PixelValueTransformationSequence", "RescaleSlope", "RescaleIntercept",
        "FrameVOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "FrameAnatomySequence",
        "FrameLaterality",
    }
)  # fmt: skip
"""The allow-list within sequences."""
VIEWS = frozenset({"PA", "AP", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "LATERAL"})
LATERALITIES = frozenset({"R", "L", "B"})
FUNCTIONS = frozenset({"LINEAR", "LINEAR_EXACT", "SIGMOID"})
MODALITIES = {"CT": "CT", "CR": "CXR", "DX": "CXR", "RG": "CXR", "RF": "CXR"}
"""Modalities of DICOM that a data set of this project has → its name there."""
_CODES = {
    "Modality": frozenset({*MODALITIES, "MR", "US", "XA", "NM", "PT", "MG", "OT", "SC"}),
    "ViewPosition": VIEWS,
    "ImageLaterality": LATERALITIES,
    "Laterality": LATERALITIES,
    "FrameLaterality": LATERALITIES,
    "VOILUTFunction": FUNCTIONS,
    "PhotometricInterpretation": frozenset({"MONOCHROME1", "MONOCHROME2"}),
}
MAX_FRAMES = 4096
MAX_FILE_PIXELS = 2**30
"""Frames of a file, and pixels of all of them: 4096 slices of 512 × 512."""
_FRAME = re.compile(r"(.+)#([1-9]\d{0,3})")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_MOVED = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
}
"""Functional groups of enhanced images (PS3.3 C.7.6.16) → the elements that single images have at the top."""


def is_dicom(source: Path | bytes) -> bool:
    """Whether a file, or an encoded image, has the preamble of DICOM."""
    if isinstance(source, bytes):
        return source[128:132] == b"DICM"
    try:
        with source.open("rb") as handle:
            return handle.read(132)[128:] == b"DICM"
    except OSError:
        return False


def file_and_frame(path: Path) -> tuple[Path, int | None]:
    """Return the file and the frame, counted from 1, that ``scan.dcm#3`` means; no frame where a file has the name."""
    named = _FRAME.fullmatch(path.name)
    if named is None or path.is_file():
        return path, None
    return path.with_name(named[1]), int(named[2])


def frames_of(root: Path, path: str) -> list[str]:
    """Return an image file as the images that it holds: ``scan.dcm#1``, … of several frames, else the path itself.

    A file of more frames than are read stays whole: reading it gives the reason, as it does for a damaged one.
    """
    if not is_dicom(root / path):
        return [path]
    try:
        count = frame_count(read_header(root / path, path))
    except DataError:
        return [path]
    return [f"{path}#{number}" for number in range(1, count + 1)] if 1 < count <= MAX_FRAMES else [path]


def read_header(source: Path | bytes, place: str) -> "Dataset":
    """Return the allow-listed elements of a file; large ones are read from the disk when they are used.

    Raises:
        DataError: the file is damaged or has no image, or pydicom is not installed.
    """
    header = _read(source, place, KEPT)
    if "PixelData" not in header:
        raise DataError(f"{place}: DICOM without an image; leave it out")
    if "TransferSyntaxUID" not in header.file_meta:
        raise DataError(f"{place}: damaged DICOM, expected a whole file; export it again")
    return header


def identity(path: Path) -> tuple[str, str]:
    """Return the SOPInstanceUID and the patient, empty where absent: to compare, never to be stored or shown.

    Raises:
        DataError: the file is damaged.
    """
    header = _read(path, str(path), ("SOPInstanceUID", "PatientID", "IssuerOfPatientID"))
    try:
        uid, patient, issuer = (
            str(header.get(name) or "").strip() for name in ("SOPInstanceUID", "PatientID", "IssuerOfPatientID")
        )
    except Exception:
        raise DataError(f"{path}: damaged DICOM, expected a whole file; export it again") from None
    return uid, f"{issuer}\n{patient}" if patient else ""


def frame_count(header: "Dataset") -> int:
    """Return how many frames a file says that it has; 1 where it says nothing that is a number."""
    try:
        return max(int(header.get("NumberOfFrames") or 1), 1)
    except (TypeError, ValueError):
        return 1


def of_frame(header: "Dataset", number: int) -> "Dataset":
    """Return a header in which what the functional groups say of one frame, counted from 1, is at the top."""
    if not any(name in header for name in _GROUPS):
        return header
    own = header.copy()
    for groups, at in zip(_GROUPS, (0, number - 1), strict=True):
        items = header.get(groups) or []
        for sequence, names in _MOVED.items() if at < len(items) else ():
            for name in names:
                if items[at].get(sequence) and name in items[at][sequence].value[0]:
                    own[name] = items[at][sequence].value[0][name]
        if at < len(items) and items[at].get("FrameAnatomySequence"):
            own.ImageLaterality = items[at].FrameAnatomySequence[0].get("FrameLaterality", "")
    return own


def described(path: Path) -> dict[str, str]:
    """Return ``view``, ``laterality`` and ``window`` of an image's header as the manifest has them, else empty texts.

    ``window`` is ``centre/width FUNCTION``, the first of several; ``table``; or ``none``.

    Raises:
        DataError: the file is damaged.
    """
    file, frame = file_and_frame(path)
    try:
        header = of_frame(read_header(file, str(path)), frame or 1)
        view = code(header, "ViewPosition")
        return {
            "view": "lateral" if view == "LATERAL" else view,
            "laterality": code(header, "ImageLaterality") or code(header, "Laterality"),
            "window": _window_text(header),
        }
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise DataError(f"{path}: damaged DICOM: an element is not what the standard says; export it again") from None


def modality_of(path: Path) -> str:
    """Return ``CT``, ``CXR`` for a radiograph, else an empty text.

    Raises:
        DataError: the file is damaged.
    """
    return MODALITIES.get(code(read_header(path, str(path)), "Modality"), "")


def code(header: "Dataset", name: str) -> str:
    """Return the value of a coded element where the standard defines it, else an empty text."""
    value = str(header.get(name) or "").strip().upper()
    return value if value in _CODES[name] else ""


def declared_window(header: "Dataset") -> tuple[float, float, str] | None:
    """Return centre, width and function of the first window that a header declares.

    Raises:
        ValueError: they are no numbers, or the width is below 1 (``LINEAR``) or not positive.
    """
    if header.get("WindowWidth") is None or header.get("WindowCenter") is None:
        return None
    centre, width = (float(np.ravel(header[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
    function = code(header, "VOILUTFunction") or "LINEAR"
    if not (np.isfinite(centre) and np.isfinite(width) and width > 0) or (function == "LINEAR" and width < 1):
        raise ValueError
    return centre, width, function


def windows_in_words(windows: Iterable[str], given: tuple[float, float] | None) -> str:
    """Say by which windows DICOM images became grey levels; empty where there are none.

    Args:
        windows: the manifest's column ``window``.
        given: ``pack.window``, which takes the place of the files' own.
    """
    counts = Counter(text for text in windows if text)
    if not counts:
        return ""
    own = ", ".join(f"{text} ({count})" for text, count in counts.most_common(5)) + (", …" if len(counts) > 5 else "")
    own = own.replace("none", "no window")
    if given:
        return f"DICOM: {counts.total()} images by pack.window {given[0]:g}/{given[1]:g}; the files say {own}"
    return f"DICOM: grey levels by the files' own windows (images): {own}"


def write_without_identity(source: Path, target: Path) -> None:
    """Copy the elements of the allow-list and the pixels, as they are, to a new file with identifiers of its own.

    Raises:
        DataError: the file is damaged.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, generate_uid

    header = read_header(source, str(source))
    try:
        kept = _allowed(header, frozenset(KEPT))
        content = str(len(header.PixelData)), str(header.get("Rows")), header.PixelData[:4096].hex()
    except Exception:
        raise DataError(f"{source}: damaged DICOM, expected a whole file; export it again") from None
    if not UID(kept.get("SOPClassUID", "")).keyword:  # of a vendor, or a text in its place
        kept.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    kept.SOPInstanceUID = generate_uid(entropy_srcs=list(content))
    kept.file_meta = FileMetaDataset()
    kept.file_meta.TransferSyntaxUID = header.file_meta.TransferSyntaxUID
    kept.file_meta.MediaStorageSOPClassUID = kept.SOPClassUID
    kept.file_meta.MediaStorageSOPInstanceUID = kept.SOPInstanceUID
    kept.save_as(target, enforce_file_format=True)


def _read(source: Path | bytes, place: str, names: Iterable[str]) -> "Dataset":
    try:
        from pydicom import config, dcmread
    except ImportError as error:
        raise DataError(f"{place}: DICOM needs the package pydicom; install it, or convert the image") from error
    config.settings.reading_validation_mode = config.IGNORE  # its warnings quote what the header holds
    try:
        if isinstance(source, bytes):
            return dcmread(BytesIO(source), specific_tags=list(names))
        return dcmread(source, specific_tags=list(names), defer_size=2**16)
    except Exception:  # a damaged header fails anywhere, and the message would quote it
        raise DataError(f"{place}: damaged DICOM, expected a whole file; export it again") from None


def _allowed(header: "Dataset", names: frozenset[str]) -> "Dataset":
    """Return a copy of the elements that are named, and within their sequences of those in ``NESTED``."""
    from pydicom import Dataset, Sequence

    kept = Dataset()
    for element in header:
        name = element.keyword
        if name not in names or (name in _CODES and not code(header, name)):
            continue
        if element.VR == "SQ":
            setattr(kept, name, Sequence([_allowed(item, NESTED) for item in element.value]))
        else:
            kept[element.tag] = element
    return kept


def _window_text(header: "Dataset") -> str:
    if header.get("VOILUTSequence"):
        return "table"
    window: Any = declared_window(header)
    return f"{window[0]:g}/{window[1]:g} {window[2]}" if window else "none"
