"""What networks look at on the images of a data set, and how well their heat agrees with known regions."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.explain.localisation import agreement
from medtransfer.explain.methods import Method, heat_over, map_sizes
from medtransfer.models.classifier import Classifier


class Explanation(NamedTuple):
    """What one network makes of N images."""

    heats: dict[Method, NDArray[np.float32]]
    """Heat by method ``[N, h, w]`` on 0–1."""
    sizes: dict[Method, tuple[int, int]]
    """Rows and columns of the maps behind the heat."""
    probability: NDArray[np.float32]
    """Of the explained class ``[N]``."""


def explain_network(model: Classifier, loader: Loader, output: int) -> Explanation:
    """Return heat and probability of one class over all rows of an evaluation loader.

    Args:
        model: a network in evaluation mode, on the loader's device.
        loader: the images, in the order of its rows.
        output: column of the class's logit.
    """
    with torch.no_grad():
        probability = [torch.softmax(model(batch["image"]), 1)[:, output].cpu().numpy() for batch in loader.epoch(0)]
    heats = heat_over(model, (batch["image"] for batch in loader.epoch(0)), output)
    return Explanation(heats, map_sizes(model, loader.batch(0, 0)["image"][:1]), np.concatenate(probability))


def map_table(explanations: Mapping[str, Explanation]) -> list[dict[str, Any]]:
    """Return one row per network and method: ``network, name, layer, rows, columns`` of the map that the heat reads."""
    return [
        {"network": network, **asdict(method), "rows": size[0], "columns": size[1]}
        for network, explanation in explanations.items()
        for method, size in explanation.sizes.items()
    ]


def agreement_table(
    explanations: Mapping[str, Explanation], regions: Mapping[str, NDArray[np.bool_]]
) -> list[dict[str, Any]]:
    """Return one row per network, method and region: its names and the fields of ``localisation.Agreement``.

    All methods of a network are scored on the same images: those on which each has a map that is not flat. A method
    that is flat on every image decides nothing about the others.

    Args:
        explanations: by network, all of the same images.
        regions: by name ``[N, h, w]``, where the images show them.
    """
    return [
        {"network": network, **asdict(method), "region": name, **asdict(agreement(heat, region, among=mapped))}
        for network, explanation in explanations.items()
        for mapped in [_mapped(explanation)]
        for method, heat in explanation.heats.items()
        for name, region in regions.items()
    ]


def _mapped(explanation: Explanation) -> NDArray[np.bool_]:
    """Return on which images ``[N]`` no method is flat; methods that are flat on all images do not count."""
    warm = [heat.any(axis=(1, 2)) for heat in explanation.heats.values()]
    mapped: NDArray[np.bool_] = np.all([each for each in warm if each.any()] or warm, axis=0)
    return mapped


def example_rows(data: PackedDataset, rows: Rows, *, count: int) -> Rows:
    """Return up to ``count`` of the rows as examples: as many of each class, each of another patient.

    They are the first by image id, never chosen by score.
    """
    table = data.manifest.iloc[rows].assign(position=rows).sort_values("image_id").drop_duplicates("patient_id")
    each = count // len(data.meta.classes)
    chosen = [table["position"][table["label"] == name].head(each) for name in data.meta.classes]
    return np.concatenate(chosen).astype(np.int64)
