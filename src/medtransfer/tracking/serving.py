"""The registered model: this file is stored beside the weights and run by MLflow (models from code, no pickle).

Contract. Input, at most 256 images per call, any height and width:

- arrays: whole grey levels 0–255 ``[N, C, H, W]`` of any type of numbers, already windowed. A network that grades lung
  zones takes the lung mask of every image as one more channel, with the values of a mask file (white on black, or those
  of ``data/arrays.py``); without it the network's segmenter finds the lungs, else the whole image counts as lung;
- image files: a list of ``pathlib.Path``, of ``bytes`` (the content of a file), or of text, which is the base64 code of
  such bytes. They are read, and windowed where the training data were, as those. Text is never a path: whoever can
  send JSON to a server must not read the server's files.

Output: a table with one row per image, whose columns follow the network's heads: ``probability_<output>``,
``severity_<output>`` or ``value_<output>``, of exclusive classes the ``label`` before them (``label_<head>`` where
there are several), and of a network that grades zones ``severity_score``, the number of zones with a severity of at
least 0.5, and ``lungs``, which says where its mask is from: ``file``, ``segmenter`` or ``whole image``. A version
that was registered with temperatures has ``calibrated_<output>`` beside its probabilities: each at the temperature that
was fitted on validation images, one output against the rest, so that those of exclusive classes need not add up to 1.
``label``, thresholds and comparisons read ``probability_<output>``. Maps of evidence and severity are given by
``medtransfer.explain_images`` of the same registered model.

Anything else is an invalid-parameter error, HTTP 400. The signature holds the output alone: MLflow has no type for
"array or file", and would cast what is outside the contract instead of refusing it.

Images are prepared by the functions that prepared the training data, so that nothing is done twice or differently.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from medtransfer.data.given import MAX_IMAGES, check_images, normalised, prepare
from medtransfer.errors import DataError
from medtransfer.tracking.columns import head_columns, read_temperatures, score_table
from medtransfer.tracking.lungs import batches_with_lungs

__all__ = ["MAX_IMAGES", "ImageClassifier", "check_images", "prepare"]


class ImageClassifier(PythonModel):  # type: ignore[misc]  # MLflow ships no types
    """Scores of every head for a batch of images."""

    def load_context(self, context: Any) -> None:
        """Build the network from the stored ``model.safetensors`` and ``config.json``, and read its temperatures.

        Raises:
            CheckpointError: a file is damaged.
            ModelError: a head was never trained.
        """
        from medtransfer.models.memory import keep_freed_memory
        from medtransfer.models.weights import load_model

        keep_freed_memory()
        folder = Path(context.artifacts["weights"]).parent
        self.network, self.config = load_model(folder)
        stored = {name: head.model_dump() for name, head in self.config["heads"].items()}
        self.columns = head_columns(stored, where=str(folder))
        self.temperatures = read_temperatures(folder)

    def predict(
        self,
        context: Any,
        model_input: np.ndarray,  # or files; so typed, MLflow neither guesses a signature nor warns
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return the table of scores; input outside the contract is an invalid-parameter error (HTTP 400)."""
        from mlflow.exceptions import MlflowException

        parts, origins = [], list[str]()
        try:
            for packed, lungs in batches_with_lungs(model_input, self.config["preprocessing"]):
                parts.append(self._scores(packed, lungs.masks if lungs else None))
                origins += lungs.origins if lungs else []
        except DataError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        scores = {name: np.concatenate([part[name] for part in parts]) for name in self.columns}
        heads = self.config["heads"]
        return score_table(scores, self.columns, heads, origins=origins, temperatures=self.temperatures)

    def _scores(
        self, packed: npt.NDArray[Any], lungs: npt.NDArray[np.bool_] | None
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Return the scores of each head ``[chunk, outputs]``."""
        import torch

        from medtransfer.models.heads import activate

        masks = () if lungs is None else (torch.from_numpy(lungs),)
        with torch.inference_mode():
            raw = self.network(normalised(packed, self.config["preprocessing"]), *masks)
        scores = activate(raw, self.config["heads"])
        return {name: scores[name].double().numpy() for name in self.columns}


set_model(ImageClassifier())
