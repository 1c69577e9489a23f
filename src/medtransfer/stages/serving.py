"""The model behind ``medtransfer serve``: it follows its alias between requests, and answers one image."""

import time
from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer.api import Model, explain_images, load_model, predict
from medtransfer.data.given import input_flags, pack_file
from medtransfer.data.images import Decoded, decode, to_depth
from medtransfer.data.manifest import ZONES
from medtransfer.data.windows import centre_crop
from medtransfer.errors import MedTransferError
from medtransfer.evaluation.shift import NOT_AVAILABLE
from medtransfer.evaluation.wording import calibration_words
from medtransfer.explain.tiles import overlay_tile
from medtransfer.reporting.evaluation import UNLIKE
from medtransfer.tracking.fetching import fetch_card, fetch_model, fetch_validation, has_validation, version_of

NOTICE = "For research. Not a medical device, not for diagnosis."
EVERY = 2.0
"""Seconds between two looks at the alias."""
AFTER_TROUBLE = 60.0
"""The same after a look that failed."""
_MAP_SIDE = 256
"""A map has at least this side, in pixels; a smaller view of the network is enlarged by a whole number."""


@dataclass(frozen=True)
class Loaded:
    """One version: the model, its validation predictions (None without), and its card (empty without)."""

    version: int
    model: Model
    validation: pd.DataFrame | None = None
    card: str = ""


class Served:
    """The model behind an address. Called by one thread at a time.

    Args:
        name: address; an alias is looked up every ``EVERY`` seconds and followed between requests. Where the new
            version cannot be loaded, or the store not be reached, the old one goes on, ``about`` says so, and the
            next look is a minute later: a store that does not answer holds up one request of that minute.
    """

    def __init__(self, name: str, *, every: float = EVERY) -> None:
        self.name, self.every = name, every
        self.trouble = ""
        self.now = load_version(name, version_of(name))
        self.due = time.monotonic() + every

    def about(self) -> dict[str, Any]:
        """Return what every reply says of the model that answers now."""
        said = {"model": self.name, "version": str(self.now.version), "sha256": self.now.model.description["sha256"]}
        return said | {"notice": NOTICE} | ({"not_followed": self.trouble} if self.trouble else {})

    def page(self) -> dict[str, Any]:
        """Return what the page says beside ``about``."""
        return {"card": self.now.card, "follows": "@" in self.name}

    def __call__(self, data: bytes, wants_map: bool) -> dict[str, Any]:
        """Answer one image."""
        self._follow()
        return self.about() | answer(self.now, data, wants_map)

    def _follow(self) -> None:
        if "@" not in self.name or time.monotonic() < self.due:
            return
        try:
            version = version_of(self.name)
            if version != self.now.version:
                self.now = load_version(self.name, version)
            self.trouble = ""
        except MedTransferError as error:
            self.trouble = str(error)
        self.due = time.monotonic() + (AFTER_TROUBLE if self.trouble else self.every)


def load_version(name: str, version: int) -> Loaded:
    """Download and load a version of the model at an address."""
    exact = f"{name.partition('@')[0]}/{version}" if "@" in name else name
    validation = fetch_validation(exact) if has_validation(exact) else None
    return Loaded(version, load_model(fetch_model(exact)), validation, fetch_card(exact))


def answer(loaded: Loaded, data: bytes | Path, wants_map: bool) -> dict[str, Any]:
    """Return the reply to one image, as bytes or, to name a frame, as a path.

    ``answer`` by column; ``words``: what validation says of a probability (not of the complement of one of which it
    says something); ``zones``: severities upper, middle, lower of the right and of the left lung; ``flags``: rules that
    the image breaks; ``unlike_training``: reasons, or *not available*; on demand ``map`` and ``explained``.

    Raises:
        DataError: the image cannot be read.
    """
    model = loaded.model
    prepared = model.description["preprocessing"]
    image = decode(data, raw=prepared.get("window") is not None)
    (row,) = predict(model, [image], shift=True).to_dict("records")
    unlike = row.pop(UNLIKE)
    chances = {name.removeprefix("probability_"): row[name] for name in row if name.startswith("probability_")}
    heads = model.description["heads"].values()
    pairs = [head.outputs for head in heads if head.activation == "softmax" and len(head.outputs) == 2]
    reply: dict[str, Any] = {"answer": row, "words": calibration_words(chances, loaded.validation, pairs=pairs)}
    if all(f"severity_{zone}" in row for zone in ZONES):
        right, left = ([row[f"severity_{zone}"] for zone in half] for half in (ZONES[:3], ZONES[3:]))
        reply["zones"] = [right, left]
    reply |= {"flags": input_flags(image, prepared), UNLIKE: unlike if unlike == NOT_AVAILABLE else _listed(unlike)}
    if wants_map:
        explained = model.description["extra"].get("positive") or model.outputs[0]
        heat = explain_images(model, [image], output=explained)[0]
        reply |= {"explained": explained, "map": _png(_view(image, prepared), heat)}
    return reply


def _listed(reasons: str) -> list[str]:
    return reasons.split("; ") if reasons else []


def _view(image: Decoded, prepared: dict[str, Any]) -> Any:
    """Return the image as the network sees it, grey uint8 ``[crop, crop]``."""
    import torch

    grey = to_depth(pack_file(image, prepared), 8).mean(0).round().astype("uint8")
    return centre_crop(torch.from_numpy(grey), prepared["crop"]).numpy()


def _png(image: Any, heat: Any) -> str:
    from PIL import Image

    buffer, tile = BytesIO(), Image.fromarray(overlay_tile(image, heat))
    times = -(-_MAP_SIDE // min(tile.size))
    tile.resize((tile.width * times, tile.height * times), Image.Resampling.BICUBIC).save(buffer, format="PNG")
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
