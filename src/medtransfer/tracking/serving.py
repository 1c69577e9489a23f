"""The registered model: this file is stored beside the weights and run by MLflow (models from code, no pickle).

Contract. Input, at most 256 images per call, any height and width:

- arrays: whole grey levels 0–255 ``[N, C, H, W]`` of any type of numbers, already windowed;
- image files: a list of ``pathlib.Path``, of ``bytes`` (the content of a file), or of text, which is the base64 code of
  such bytes. They are read, and windowed where the training data were, as those. Text is never a path: whoever can
  send JSON to a server must not read the server's files.

Output: a table with one row per image, whose columns follow the network's heads: ``probability_<output>``,
``severity_<output>`` or ``value_<output>``, and of exclusive classes the ``label`` before them (``label_<head>`` where
there are several). Anything else is an invalid-parameter error, HTTP 400. The signature holds the output alone: MLflow
has no type for "array or file", and would cast what is outside the contract instead of refusing it.

Images are prepared by the functions that prepared the training data, so that nothing is done twice or differently.
"""

import binascii
from base64 import b64decode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from medtransfer.errors import DataError
from medtransfer.tracking.columns import head_columns

MAX_IMAGES = 256
_CHUNK = 32


class ImageClassifier(PythonModel):  # type: ignore[misc]  # MLflow ships no types
    """Scores of every head for a batch of images."""

    def load_context(self, context: Any) -> None:
        """Build the network from the stored ``model.safetensors`` and ``config.json``.

        Raises:
            CheckpointError: a file is damaged.
            ModelError: a head was never trained.
        """
        from medtransfer.models.weights import load_model

        folder = Path(context.artifacts["weights"]).parent
        self.network, self.config = load_model(folder)
        stored = {name: head.model_dump() for name, head in self.config["heads"].items()}
        self.columns = head_columns(stored, where=str(folder))

    def predict(
        self,
        context: Any,
        model_input: np.ndarray,  # or files; so typed, MLflow neither guesses a signature nor warns
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return the table of scores; input outside the contract is an invalid-parameter error (HTTP 400)."""
        from mlflow.exceptions import MlflowException

        heads, parts = self.config["heads"], []
        try:
            for batch in self._batches(model_input):
                parts.append(self._scores(batch))
        except DataError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        columns: dict[str, Any] = {}
        for name, column in self.columns.items():
            scores = np.concatenate([part[name] for part in parts])
            if column.label:
                columns[column.label] = [heads[name].outputs[i] for i in scores.argmax(1)]
            columns |= dict(zip(column.scores, scores.T, strict=True))
        return pd.DataFrame(columns)

    def _batches(self, given: Any) -> Iterator[npt.NDArray[Any]]:
        """Yield packed images ``[chunk, C, size, size]``; all input is checked first, files are decoded as they come.

        Raises:
            DataError: the input is outside the contract.
        """
        preprocessing = self.config["preprocessing"]
        if (files := encoded_files(given)) is None:
            images = check_images(given, preprocessing["channels"])
            for start in range(0, len(images), _CHUNK):
                yield pack_arrays(images[start : start + _CHUNK], preprocessing)
            return
        for start in range(0, len(files), _CHUNK):
            yield pack_files(files[start : start + _CHUNK], preprocessing)

    def _scores(self, packed: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float64]]:
        """Return the scores of each head ``[chunk, outputs]``."""
        import torch

        from medtransfer.models.heads import activate

        with torch.inference_mode():
            scores = activate(self.network(normalised(packed, self.config["preprocessing"])), self.config["heads"])
        return {name: scores[name].double().numpy() for name in self.columns}


def encoded_files(given: Any) -> list[Path | bytes] | None:
    """Return image files as paths or bytes; nothing where the input is arrays.

    Raises:
        DataError: too many, of several kinds, or text that is no base64 code.
    """
    if isinstance(given, (str, bytes, Path)):
        given = [given]
    if isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind in "OSU":
        given = given.tolist()
    if not isinstance(given, (list, tuple)) or not all(isinstance(each, (str, bytes, Path)) for each in given):
        return None
    if not given:
        raise DataError("no image; send one or more")
    _require_few(len(given))
    return [_decoded(each) if isinstance(each, str) else each for each in given]


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise DataError(
            f"the text {text[:40]!r} is no base64 code of an image file; give a path as pathlib.Path"
        ) from None


def check_images(images: Any, channels: int) -> npt.NDArray[np.uint8]:
    """Return images as uint8 ``[N, channels, H, W]``.

    Raises:
        DataError: wrong rank, channels, number or type; NaN; values outside 0–255 or between whole numbers.
    """
    try:
        array = np.asarray(images)
    except ValueError:
        raise DataError(f"images differ in shape, expected one array [N, {channels}, height, width]") from None
    if array.ndim != 4 or array.shape[1] != channels or 0 in array.shape:
        raise DataError(f"images have shape {list(array.shape)}, expected [N, {channels}, height, width]")
    _require_few(len(array))
    return _grey_levels(array)


def pack_arrays(images: npt.NDArray[np.uint8], preprocessing: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """Return windowed grey levels as the training images were packed ``[N, C, size, size]``."""
    from medtransfer.data.images import equalize, resize, smooth

    spread = [equalize(image) for image in images] if preprocessing["equalize"] else list(images)
    clean = [smooth(image) for image in spread] if preprocessing.get("smooth") else spread
    return np.stack([resize(image, preprocessing["size"]) for image in clean])


def pack_files(files: Sequence[Path | bytes], preprocessing: dict[str, Any]) -> npt.NDArray[Any]:
    """Return image files, read and prepared as the training images were ``[N, C, size, size]``.

    Raises:
        DataError: a file cannot be read.
    """
    from medtransfer.data.arrays import PackConfig, pack_image

    known = {key: preprocessing[key] for key in PackConfig.model_fields if key in preprocessing}
    config = PackConfig.model_validate(known)
    return np.stack([pack_image(file, config) for file in files])


def normalised(packed: npt.NDArray[Any], preprocessing: dict[str, Any]) -> Any:
    """Return the network's input, float ``[N, 3, crop, crop]``: centre crop and normalise."""
    import torch

    from medtransfer.data.transforms import evaluate_view

    mean, std = _numbers(preprocessing["mean"]), _numbers(preprocessing["std"])
    return evaluate_view(torch.from_numpy(packed), preprocessing["crop"], mean=mean, std=std)


def prepare(images: npt.NDArray[np.uint8], preprocessing: dict[str, Any]) -> Any:
    """Return the network's input of windowed grey levels, float ``[N, 3, crop, crop]``."""
    return normalised(pack_arrays(images, preprocessing), preprocessing)


def _require_few(count: int) -> None:
    if count > MAX_IMAGES:
        raise DataError(f"{count} images in one call, expected at most {MAX_IMAGES}: send smaller batches")


def _grey_levels(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype.kind not in "iuf":
        raise DataError(f"images have the type {array.dtype}, expected uint8")
    if not np.isfinite(array).all():
        raise DataError("images hold NaN or infinity, expected grey levels 0 to 255")
    if array.min() < 0 or array.max() > 255:
        raise DataError(f"images hold values {array.min()} to {array.max()}, expected grey levels 0 to 255")
    if array.max() <= 1:
        raise DataError("images hold nothing above 1, expected grey levels 0 to 255 (not scaled to 0–1)")
    whole = array.astype(np.uint8)
    if (whole != array).any():
        raise DataError("images hold fractions, expected whole grey levels 0 to 255 (not scaled to 0–1)")
    return whole


def _numbers(value: float | Sequence[float]) -> Sequence[float]:
    return value if isinstance(value, Sequence) else (value,)


set_model(ImageClassifier())
