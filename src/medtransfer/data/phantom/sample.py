"""The embedded sample: natural-like images, X-rays and CT slices written as PNG files and tables of labels."""

import csv
import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import Field as Bound

from medtransfer.config import Config
from medtransfer.data.phantom.ct import CtConfig, draw_ct
from medtransfer.data.phantom.cxr import FINDINGS, CxrConfig, CxrLabel, draw_cxr, severity_zones
from medtransfer.data.phantom.natural import SHAPES, NaturalConfig, draw_natural
from medtransfer.data.phantom.record import Bytes, Phantom
from medtransfer.data.phantom.scanner import CT_OUTSIDE, CT_SCANNERS, CXR_SCANNERS, Scanner
from medtransfer.data.phantom.shortcuts import ShortcutConfig, burn_marker, choose_scanner, marked
from medtransfer.errors import DataError
from medtransfer.files import write_bytes, write_text

LABEL_COLUMNS = ("image", "mask", "patient_id", "label", "split", "source", "view", "date", "modality")
SHORTCUT_COLUMNS = ("image", "source", "source_strength", "text", "text_strength", "left", "top", "right", "bottom")
_NATURAL, _CXR, _CT, _CT_OUTSIDE = range(4)


class SplitCounts(Config):
    """Numbers of images in the three splits."""

    train: int = Bound(ge=0)
    val: int = Bound(ge=0)
    test: int = Bound(ge=0)


class SampleConfig(Config):
    """The embedded sample.

    Attributes:
        seed: start of every stream; each image depends on it and on the image's own number alone.
        natural: colour images, ``natural_counts`` per class.
        cxr: X-rays, ``cxr_count`` in all, without splits: the project splits them by patient.
        ct: CT slices with official splits, which share no patient.
        ct_outside_count: CT slices from a hospital that ``ct`` does not have, all in the test split.
        covid_share: share of patients with COVID-19.
        unknown_share: share of an X-ray's findings that the table leaves blank.
        cxr_shortcuts: by default the hospital is mildly linked with COVID-19, as in public collections.
        ct_shortcuts: none by default, so that the scores on CT reflect the lesions.
    """

    seed: int = Bound(default=20, ge=0)
    natural: NaturalConfig = NaturalConfig()
    natural_counts: SplitCounts = SplitCounts(train=100, val=20, test=20)
    cxr: CxrConfig = CxrConfig()
    cxr_count: int = Bound(default=480, ge=1)
    ct: CtConfig = CtConfig()
    ct_counts: SplitCounts = SplitCounts(train=300, val=90, test=180)
    ct_outside_count: int = Bound(default=100, ge=1)
    covid_share: float = Bound(default=0.45, ge=0, le=1)
    unknown_share: float = Bound(default=0.2, ge=0, le=1)
    cxr_shortcuts: ShortcutConfig = ShortcutConfig(source_contrast=0.3)
    ct_shortcuts: ShortcutConfig = ShortcutConfig()


@dataclass(frozen=True)
class _Visit:
    """One image of a patient, before it is drawn."""

    patient: int
    number: int
    positive: bool
    split: str


def write_sample(root: Path, config: SampleConfig) -> dict[str, int]:
    """Write ``natural/``, ``cxr/``, ``ct/`` and ``ct_outside/`` below ``root``, always the same bytes.

    ``natural`` is an ImageFolder layout. The others hold ``images/``, ``masks/``, ``labels.csv`` and ``shortcuts.csv``
    (what was planted, and where the letters are in pixels).

    Returns:
        The number of images in each folder.

    Raises:
        DataError: ``root`` is not empty, so that old and new files would mix.
    """
    if root.is_dir() and any(root.iterdir()):
        raise DataError(
            f"{root}: the sample needs an empty folder, this one holds files; remove them or name another folder"
        )
    counts = config.ct_counts
    visits = {
        "cxr": _visits(config, _CXR, {"": config.cxr_count}),
        "ct": _visits(config, _CT, {"train": counts.train, "val": counts.val, "test": counts.test}),
        "ct_outside": _visits(config, _CT_OUTSIDE, {"test": config.ct_outside_count}),
    }
    return {
        "natural": _write_natural(root / "natural", config),
        "cxr": _write_table(root / "cxr", [_cxr_case(config, visit) for visit in visits["cxr"]], config.cxr_shortcuts),
        "ct": _write_table(
            root / "ct", [_ct_case(config, _CT, CT_SCANNERS, visit) for visit in visits["ct"]], config.ct_shortcuts
        ),
        "ct_outside": _write_table(
            root / "ct_outside",
            [_ct_case(config, _CT_OUTSIDE, CT_OUTSIDE, visit) for visit in visits["ct_outside"]],
            config.ct_shortcuts,
        ),
    }


def _stream(config: SampleConfig, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, *numbers])


def _visits(config: SampleConfig, dataset: int, counts: dict[str, int]) -> Iterator[_Visit]:
    """Fill each split with whole patients of one to three images; the last patient is cut to fit."""
    patient = 0
    for split, count in counts.items():
        left = count
        while left > 0:
            # a share s of patients, evenly spread: positive where floor(s * patient) steps up
            positive = int(config.covid_share * (patient + 1)) > int(config.covid_share * patient)
            images = min(left, int(_stream(config, dataset, patient).choice((1, 1, 2, 3))))
            yield from (_Visit(patient, number, positive, split) for number in range(images))
            left -= images
            patient += 1


Case = tuple[dict[str, str], Phantom]


def _ct_case(config: SampleConfig, dataset: int, scanners: Sequence[Scanner], visit: _Visit) -> Case:
    shortcuts = config.ct_shortcuts
    planted = _stream(config, dataset, visit.patient, 0)
    scanner = choose_scanner(planted, visit.positive, shortcuts.source_contrast, scanners)
    per_patient, per_image = (
        _stream(config, dataset, visit.patient, 1),
        _stream(config, dataset, visit.patient, 2, visit.number),
    )
    phantom = draw_ct(per_patient, per_image, "covid" if visit.positive else "non-covid", scanner, config.ct)
    return _finish(config, dataset, visit, phantom, shortcuts)


def _cxr_case(config: SampleConfig, visit: _Visit) -> Case:
    shortcuts = config.cxr_shortcuts
    planted = _stream(config, _CXR, visit.patient, 0)
    scanner = choose_scanner(planted, visit.positive, shortcuts.source_contrast, CXR_SCANNERS)
    other: CxrLabel = "normal" if planted.random() < 0.5 else "pneumonia"
    per_patient, per_image = (
        _stream(config, _CXR, visit.patient, 1),
        _stream(config, _CXR, visit.patient, 2, visit.number),
    )
    phantom = draw_cxr(per_patient, per_image, "covid" if visit.positive else other, scanner, config.cxr)
    row, phantom = _finish(config, _CXR, visit, phantom, shortcuts)
    for name in FINDINGS:
        known = per_image.random() >= config.unknown_share
        row[f"y_{name}"] = str(int(phantom.findings[name])) if known else ""
    for number, severity in enumerate(severity_zones(phantom.mask, config.cxr.zone_share)):
        row[f"zone_{number}"] = str(int(severity))
    return row, phantom


def _finish(config: SampleConfig, dataset: int, visit: _Visit, phantom: Phantom, shortcuts: ShortcutConfig) -> Case:
    """Burn in the marker if the shortcut says so, and fill the table's common columns."""
    planted = _stream(config, dataset, visit.patient, 3, visit.number)
    if marked(planted, visit.positive, shortcuts.text_marker):
        image, marker = burn_marker(planted, phantom.image)
        phantom = Phantom(image, phantom.mask, phantom.label, phantom.source, phantom.view, phantom.findings, marker)
    day = int(_stream(config, dataset, visit.patient, 4).integers(700)) + 3 * visit.number
    row = {
        "patient_id": f"p{visit.patient:04d}",
        "label": phantom.label,
        "split": visit.split,
        "source": phantom.source,
        "view": phantom.view,
        "date": (datetime.date(2020, 1, 1) + datetime.timedelta(days=day)).isoformat(),
        "modality": "CXR" if dataset == _CXR else "CT",
    }
    return row, phantom


def _write_table(folder: Path, cases: list[Case], shortcuts: ShortcutConfig) -> int:
    labels, planted = [], []
    for number, (row, phantom) in enumerate(cases):
        names = {"image": f"images/{number:04d}.png", "mask": f"masks/{number:04d}.png"}
        _write_png(folder / names["image"], phantom.image)
        _write_png(folder / names["mask"], phantom.mask)
        labels.append(names | row)
        planted.append(_planted(names["image"], phantom, shortcuts))
    extra = [name for name in labels[0] if name not in LABEL_COLUMNS]
    _write_csv(folder / "labels.csv", [*LABEL_COLUMNS, *extra], labels)
    _write_csv(folder / "shortcuts.csv", list(SHORTCUT_COLUMNS), planted)
    return len(cases)


def _planted(image: str, phantom: Phantom, shortcuts: ShortcutConfig) -> dict[str, str]:
    box = [str(edge) for edge in phantom.marker.box] if phantom.marker else [""] * 4
    text = phantom.marker.text if phantom.marker else ""
    strengths = str(shortcuts.source_contrast), str(shortcuts.text_marker)
    return dict(zip(SHORTCUT_COLUMNS, (image, phantom.source, strengths[0], text, strengths[1], *box), strict=True))


def _write_natural(folder: Path, config: SampleConfig) -> int:
    total = 0
    for which, (split, count) in enumerate(config.natural_counts):
        for kind, label in enumerate(SHAPES):
            for number in range(count):
                phantom = draw_natural(_stream(config, _NATURAL, which, kind, number), label, config.natural)
                _write_png(folder / split / label / f"{number:03d}.png", phantom.image)
                total += 1
    return total


def _write_png(path: Path, pixels: Bytes) -> None:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    write_bytes(path, buffer.getvalue())


def _write_csv(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    buffer = StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())
