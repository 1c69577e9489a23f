"""The registered model: this file is stored beside the weights and run by MLflow (models from code, no pickle).

Contract. Input: images as whole grey levels 0–255, float32 ``[N, C, H, W]`` (the registered signature: a type that can
hold what is outside the contract, so that it can be refused), any height and width, already windowed, at most 256
images per call. A network that grades lung zones takes the lung mask of every image as one more channel, with the
values of a mask file (white on black, or those of ``data/arrays.py``); without it the network's segmenter finds the
lungs, else the whole image counts as lung. Output: a table with one row per image, whose columns follow the network's
heads: ``probability_<output>``, ``severity_<output>`` or ``value_<output>``, of exclusive classes the ``label`` before
them (``label_<head>`` where there are several), and of a network that grades zones ``severity_score``, the number of
zones with a severity of at least 0.5, and ``lungs``, which says where its mask is from: ``file``, ``segmenter`` or
``whole image``.

Images are prepared by the functions that prepared the training data, so that nothing is done twice or differently.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from medtransfer.errors import DataError
from medtransfer.tracking.columns import FILES, LUNGS, SCORE, head_columns

if TYPE_CHECKING:
    from medtransfer.data.lungs import LungMasks

MAX_IMAGES = 256
_CHUNK = 32
AFFECTED = 0.5
"""Severity from which on a zone counts in the score (Park et al. 2022, P-12)."""


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
        model_input: np.ndarray,  # so typed, MLflow neither guesses a signature nor warns
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return the table of scores; input outside the contract is an invalid-parameter error (HTTP 400)."""
        from mlflow.exceptions import MlflowException

        preprocessing, heads = self.config["preprocessing"], self.config["heads"]
        try:
            sent, masks = split_masks(model_input, preprocessing)
            images = check_images(sent, preprocessing["channels"])
            lungs = prepare_lungs(images, masks, preprocessing)
        except DataError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        columns: dict[str, Any] = {}
        for name, scores in self._scores(images, lungs.masks if lungs else None).items():
            if self.columns[name].label:
                columns[self.columns[name].label] = [heads[name].outputs[i] for i in scores.argmax(1)]
            columns |= dict(zip(self.columns[name].scores, scores.T, strict=True))
        if lungs:
            zones = np.stack([columns[name] for name in columns if name.startswith("severity_")], axis=1)
            columns |= {SCORE: (zones >= AFFECTED).sum(axis=1).astype(float), LUNGS: lungs.origins}
        return pd.DataFrame(columns)

    def _scores(
        self, images: npt.NDArray[np.uint8], lungs: npt.NDArray[np.bool_] | None
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Return the scores of each head ``[N, outputs]``."""
        import torch

        from medtransfer.models.heads import activate

        parts: list[dict[str, torch.Tensor]] = []
        with torch.inference_mode():
            for start in range(0, len(images), _CHUNK):
                chunk = slice(start, start + _CHUNK)
                masks = () if lungs is None else (torch.from_numpy(lungs[chunk]),)
                raw = self.network(prepare(images[chunk], self.config["preprocessing"]), *masks)
                parts.append(activate(raw, self.config["heads"]))
        return {name: torch.cat([part[name] for part in parts]).double().numpy() for name in self.columns}


def check_images(images: Any, channels: int) -> npt.NDArray[np.uint8]:
    """Return images as uint8 ``[N, channels, H, W]``.

    Raises:
        DataError: wrong rank, channels, number or type; NaN; values outside 0–255 or between whole numbers.
    """
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[1] != channels or 0 in array.shape:
        raise DataError(f"images have shape {list(array.shape)}, expected [N, {channels}, height, width]")
    if len(array) > MAX_IMAGES:
        raise DataError(f"{len(array)} images in one call, expected at most {MAX_IMAGES}: send smaller batches")
    return _grey_levels(array)


def split_masks(images: Any, preprocessing: dict[str, Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Return images without, and the lung masks ``[N, H, W]`` of a network that takes them; nothing without masks."""
    array, channels = np.asarray(images), preprocessing["channels"]
    if preprocessing.get("masks") != FILES or array.ndim != 4 or array.shape[1] != channels + 1:
        return array, None
    return array[:, :channels], array[:, channels]


def prepare_lungs(
    images: npt.NDArray[np.uint8], masks: npt.NDArray[Any] | None, preprocessing: dict[str, Any]
) -> "LungMasks | None":
    """Return the lungs at the size of the network's input; nothing for a network that grades no zones.

    Raises:
        DataError: a mask shows no lung or holds another value than mask files do.
    """
    import torch

    from medtransfer.data.arrays import LUNG_VALUES, prepare_mask
    from medtransfer.data.lungs import FILE, LungMasks, complete
    from medtransfer.data.windows import centre_crop
    from medtransfer.models.segmenters import segmenter

    if "masks" not in preprocessing:
        return None
    size = preprocessing["size"]
    if masks is None:
        found = complete(_packed(images, preprocessing), segmenter(preprocessing["segmenter"]))
    else:
        named = [(f"lung mask of image {number}", mask) for number, mask in enumerate(masks)]
        lungs = np.stack([(prepare_mask(mask, size, where=name) & LUNG_VALUES) > 0 for name, mask in named])
        if empty := [name for (name, _), one in zip(named, lungs, strict=True) if not one.any()]:
            raise DataError(f"{empty[0]} shows no lung; send a mask with lung, or images without the mask's channel")
        found = LungMasks(lungs, [FILE] * len(lungs))
    cropped = centre_crop(torch.from_numpy(found.masks), preprocessing["crop"])
    return found._replace(masks=cropped.numpy())


def prepare(images: npt.NDArray[np.uint8], preprocessing: dict[str, Any]) -> Any:
    """Return the network's input, float ``[N, 3, crop, crop]``: equalise, smooth, resize, centre crop, normalise."""
    import torch

    from medtransfer.data.transforms import evaluate_view

    mean, std = _numbers(preprocessing["mean"]), _numbers(preprocessing["std"])
    return evaluate_view(torch.from_numpy(_packed(images, preprocessing)), preprocessing["crop"], mean=mean, std=std)


def _packed(images: npt.NDArray[np.uint8], preprocessing: dict[str, Any]) -> npt.NDArray[np.uint8]:
    from medtransfer.data.images import equalize, resize, smooth

    spread = [equalize(image) for image in images] if preprocessing["equalize"] else list(images)
    clean = [smooth(image) for image in spread] if preprocessing.get("smooth") else spread
    return np.stack([resize(image, preprocessing["size"]) for image in clean])


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
