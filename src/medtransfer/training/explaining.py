"""A network to explain: heat of every explainer that fits it, its scores, and how well the maps do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn

from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.data.phantom.record import lesions, lungs
from medtransfer.data.transforms import evaluate_view
from medtransfer.errors import ModelError
from medtransfer.explain.explainers import explainers, fitting
from medtransfer.explain.sanity import likeness, weight_randomisation
from medtransfer.explain.scorecard import Score, faithful, located, with_floor
from medtransfer.models.classifier import Classifier, build_network
from medtransfer.models.heads import Head, activate, require_trained
from medtransfer.models.networks import AnyNetwork
from medtransfer.models.structures import Structure
from medtransfer.models.weights import load_model
from medtransfer.paths import FitPaths
from medtransfer.training.auditing import numbers
from medtransfer.training.engine import Engine
from medtransfer.training.progress import over
from medtransfer.training.random_labels import Twin, learn_permuted_labels

TESTED, LEARNT = 4, 48
"""Images on which sanity tests compare maps, and on which the twin learns permuted labels."""
BATCH = 32


@dataclass(frozen=True)
class Subject:
    """One network to explain.

    Attributes:
        title: how it is called on the page.
        fit: where it is from.
        network: in evaluation mode, on the engine's device.
        build: what builds such a network.
        head: the head with the output in question.
        name: of that head.
        column: of the output among those of all heads.
        heads: all heads.
        view: crop, mean and standard deviation of its input.
        engine: device.
    """

    title: str
    fit: FitPaths
    network: Classifier
    build: Structure
    head: Head
    name: str
    column: int
    heads: Mapping[str, Head]
    view: Mapping[str, Any]
    engine: Engine = field(repr=False)

    def inputs(self, data: PackedDataset, rows: Rows) -> Tensor:
        """Return the network's view of some rows ``[N, 3, crop, crop]``."""
        images = torch.from_numpy(np.asarray(data.images[rows])).to(self.engine.device)
        return evaluate_view(images, self.view["crop"], mean=self.view["mean"], std=self.view["std"])

    def heats(
        self, images: Tensor, *, network: nn.Module | None = None, names: tuple[str, ...] = ()
    ) -> dict[str, NDArray[np.float32]]:
        """Return the heat of explainers by name ``[N, h, w]``, of this network or of another one of its build."""
        model: Any = self.network if network is None else network
        known, chosen = explainers(), names or fitting(self.network)
        batches, parts = torch.split(images, BATCH), dict[str, list[NDArray[np.float32]]]()
        with over(f"maps of {self.title}", len(chosen) * len(batches), images=len(batches[0])) as bar:
            for name in chosen:
                for batch in batches:
                    parts.setdefault(name, []).append(known[name].heat(model, batch, self.column).float().cpu().numpy())
                    bar.advance()
        return {name: np.concatenate(maps) for name, maps in parts.items()}

    @torch.no_grad()
    def scores(self, images: Tensor | NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the score of every output of the head ``[N, outputs]``."""
        batches = torch.split(torch.as_tensor(images, dtype=torch.float32, device=self.engine.device), BATCH)
        parts = [activate(self.network(batch), self.heads)[self.name].cpu().numpy() for batch in batches]
        return np.concatenate(parts)

    def score(self, images: Tensor | NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the score of the output in question ``[N]``."""
        return self.scores(images)[:, self.head.outputs.index(self.output)]

    @property
    def output(self) -> str:
        """Name of the output in question."""
        return self.outputs[self.column]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs of all heads."""
        return [one for head in self.heads.values() for one in head.outputs]


def open_subject(title: str, fit: FitPaths, positive: str, engine: Engine) -> Subject:
    """Load the network of a fit.

    Raises:
        ModelError: it has no such output, or the head was never trained.
    """
    network, description = load_model(fit.weights)
    heads = description["heads"]
    names = [(name, one) for name, head in heads.items() for one in head.outputs]
    if positive not in [one for _, one in names]:
        there = ", ".join(one for _, one in names)
        raise ModelError(f"explain: {title} has no output {positive!r}, expected one of {there}")
    column = [one for _, one in names].index(positive)
    name = names[column][0]
    require_trained({name: heads[name]}, what="explain")
    prepared = description["preprocessing"]
    view = {"crop": prepared["crop"], "mean": numbers(prepared["mean"]), "std": numbers(prepared["std"])}
    engine.place(network).eval()
    build = TypeAdapter[Structure](AnyNetwork).validate_python(description["network"])
    return Subject(title, fit, network, build, heads[name], name, column, heads, view, engine)


def score_maps(subject: Subject, data: PackedDataset, rows: Rows, twin: Twin) -> list[dict[str, Any]]:
    """Return the scores of every explainer of a network, and of noise, as rows for JSON.

    Args:
        subject: the network.
        data: images whose rows all have masks.
        rows: images of the class or finding; one at least.
        twin: the network that learnt permuted labels.
    """
    images = subject.inputs(data, rows)
    heats = with_floor(subject.heats(images))
    places = data.manifest["mask_row"].to_numpy()[rows]
    masks = centre(np.asarray(data.masks[places]), subject.view["crop"])  # type: ignore[index]
    shown = images.cpu().numpy()
    tested: dict[str, dict[str, Any]] = _sanity(subject, images[:TESTED], twin)
    return [
        Score(
            name,
            **located(heat, lesions(masks), lungs(masks)),
            **faithful(shown, heat, subject.score),
            **tested.get(name, {}),
        ).plain()
        for name, heat in heats.items()
    ]


def permuted_twin(subject: Subject, data: PackedDataset, positive: NDArray[np.float64]) -> Twin:
    """Return a network of the subject's build that learnt permuted labels of training images.

    Args:
        subject: the network.
        data: its data set.
        positive: 1, 0 or NaN (not known) for every row of the manifest.
    """
    train = data.rows("train", labelled=False)
    rows = train[~np.isnan(positive[train])][:LEARNT]
    network = build_network(subject.build, len(subject.outputs), seed=0)
    subject.engine.place(network)
    return learn_permuted_labels(network, subject.inputs(data, rows), positive[rows] == 1, subject.column)


def _sanity(subject: Subject, images: Tensor, twin: Twin) -> dict[str, dict[str, Any]]:
    def heats(network: nn.Module) -> dict[str, NDArray[np.float32]]:
        return subject.heats(images, network=network)

    own, permuted = heats(subject.network), heats(twin.network)
    return {
        name: {"head": values[0][1], "weights": values[-1][1], "labels": likeness(own[name], permuted[name])}
        for name, values in weight_randomisation(subject.network, heats, shares=(0.0, 1.0)).items()
    }


def centre(images: NDArray[Any], crop: int) -> NDArray[Any]:
    """Return the middle of images ``[…, h, w]``."""
    top, left = ((side - crop) // 2 for side in images.shape[-2:])
    return images[..., top : top + crop, left : left + crop]
