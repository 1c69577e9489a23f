"""``medtransfer predict IMAGE… --model MODEL``: the server's reply to each image, its map written as a PNG."""

from argparse import Namespace
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtransfer.api import load_model
from medtransfer.data.dicom_header import file_and_frame
from medtransfer.errors import DataError
from medtransfer.evaluation.shift import NOT_AVAILABLE
from medtransfer.files import write_atomic
from medtransfer.reporting.evaluation import UNLIKE
from medtransfer.stages.serving import NOTICE, Loaded, answer, load_version
from medtransfer.tracking.fetching import version_of
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Print the answer to every image, and write ``<out>/<name>-map.png``, the heat over the view of the network.

    A frame of DICOM is named ``scan.dcm#3``; its map is ``scan-3-map.png``.

    Raises:
        DataError: there is no such image, two have one name, or one cannot be read.
        TrackingError: there is no such model.
    """
    images = [Path(each) for each in (options.study, *options.more)]
    maps = _map_files(images, options.out or Path("out/predict"))
    loaded = _loaded(options.model)
    for image, file in zip(images, maps, strict=True):
        try:
            reply = answer(loaded, image.read_bytes() if image.is_file() else image, True)
        except DataError as error:
            raise DataError(str(error).replace("the encoded image", str(image))) from error
        _write(file, b64decode(reply["map"].partition(",")[2]))
        _say(f"{image}: {_words(reply['answer'])}")
        for line in _notes(reply):
            _say(f"  {line}")
        _say(f"  where the evidence for {reply['explained']} is: {file}")
    _say(NOTICE)


def _loaded(name: str) -> Loaded:
    if Path(name).is_dir():
        return Loaded(0, load_model(name))
    address = name if name.startswith("models:/") else f"models:/{name}"
    return load_version(address, version_of(address))


def _notes(reply: dict[str, Any]) -> Iterator[str]:
    """Yield what a reader of the numbers must know: calibration, broken rules of input, unlikeness to training."""
    yield from (f"{output}: {words}" for output, words in reply["words"].items())
    yield from (f"not as the model expects: {flag}" for flag in reply["flags"])
    if reply[UNLIKE] == NOT_AVAILABLE:
        yield f"unlike the training images: {NOT_AVAILABLE}"
    else:
        yield from (f"unlike the training images: {reason}" for reason in reply[UNLIKE])


def _map_files(images: list[Path], out: Path) -> list[Path]:
    """Return the file of each map, before a model is loaded.

    Raises:
        DataError: an image is not there or a folder, or two would have the same map.
    """
    seen: dict[Path, Path] = {}
    for image in images:
        if image.is_dir():
            raise DataError(f"{image}: a folder, expected image files; medtransfer evaluate --images takes folders")
        scan, frame = file_and_frame(image)
        if not scan.is_file():
            raise DataError(f"{image}: no such image; correct its path")
        file = out / (f"{scan.stem}-{frame}-map.png" if frame else f"{scan.stem}-map.png")
        if file in seen:
            raise DataError(f"{image}: its map would have the name of that of {seen[file]}; predict them one by one")
        seen[file] = image
    return list(seen)


def _write(file: Path, content: bytes) -> None:
    def write(staged: Path) -> None:
        staged.write_bytes(content)

    write_atomic(file, write)


def _words(answer: dict[str, Any]) -> str:
    """Return an answer as ``label covid · probability_covid 0.713 · …``."""
    parts = (f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}" for name, value in answer.items())
    return " · ".join(parts)


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
