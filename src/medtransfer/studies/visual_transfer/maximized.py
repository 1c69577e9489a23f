"""The images that outputs and filters respond to most (Fig. 2 and 3), with the settings of the paper's figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from medtransfer.explain.activation import MaximizationConfig, class_unit, filter_units, maximize_all, preset
from medtransfer.explain.generated import image_sheet
from medtransfer.models.weights import load_model
from medtransfer.studies.visual_transfer import study
from medtransfer.studies.visual_transfer.attribution import columns
from medtransfer.studies.visual_transfer.config import VisualTransferConfig
from medtransfer.studies.visual_transfer.images import Normalization, normalization_in
from medtransfer.studies.visual_transfer.titles import column_title
from medtransfer.training.engine import Engine
from medtransfer.training.progress import console

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def maximized(config: VisualTransferConfig, engine: Engine) -> tuple[dict[str, "Figure"], dict[str, Any]]:
    """Return the panels ``figure2`` and ``figure3``, none where no column is asked for, and their facts."""
    chosen = [name for name in config.maximized.columns if name in columns(config)]
    if not chosen:
        return {}, {"columns": []}
    classes: dict[str, list[Any]] = {"2a": [], "2b": []}
    filters: list[tuple[str, list[Any]]] = []
    layers = {}
    for name in chosen:
        model, description = load_model(study.fitted(name, config.seeds[0]).weights)
        engine.place(model).eval()
        search = _Search(model, config, normalization_in(description))
        for figure, images in classes.items():
            images.append(search.of_class("2a" if figure == "2a" else "2b"))
        layers[name], convolution = last_convolution(model)
        some = np.linspace(0, convolution.out_channels - 1, config.maximized.filters).astype(int)
        filters.append((column_title(name), search.of_filters(layers[name], some.tolist())))
        console.print(f"maximised {name}", markup=False, soft_wrap=True)
    labels = {"2a": "(a) no jitter", "2b": "(b) 5 % jitter,\nno total variation"}
    rows = [(labels[figure], images) for figure, images in classes.items()]
    panels = {"figure2": image_sheet(rows, [column_title(name) for name in chosen])}
    panels["figure3"] = image_sheet(filters, [f"{number + 1}" for number in range(config.maximized.filters)])
    return panels, {"columns": chosen, "layers": layers, "iterations": config.maximized.iterations}


def last_convolution(model: nn.Module) -> tuple[str, nn.Conv2d]:
    """Return name and module of the last convolution before the output: the paper's penultimate layer."""
    return [(name, one) for name, one in model.named_modules() if isinstance(one, nn.Conv2d)][-1]


class _Search:
    """Activation maximisation in one network."""

    def __init__(self, model: nn.Module, config: VisualTransferConfig, normalization: Normalization) -> None:
        self.model, self.crop, self.iterations = model, config.crop, config.maximized.iterations
        self.mean, self.std = (torch.tensor(values).view(1, -1, 1, 1) for values in normalization)

    def of_class(self, figure: Literal["2a", "2b"]) -> Any:
        """Return the image that the positive class's logit is highest for."""
        return self._found(preset(figure), class_unit(0), "", count=1)[0]

    def of_filters(self, layer: str, numbers: Sequence[int]) -> list[Any]:
        """Return the images that filters respond to most."""
        return self._found(preset("3"), filter_units(numbers), layer, count=len(numbers))

    def _found(self, settings: MaximizationConfig, unit: Any, layer: str, *, count: int) -> list[Any]:
        shorter, shape = settings.model_copy(update={"iterations": self.iterations}), (3, self.crop, self.crop)
        found = maximize_all(
            self.model, unit, shorter, count=count, shape=shape, normalize=self._normalize, layer=layer
        )
        return [*found.cpu().numpy()]

    def _normalize(self, image: Tensor) -> Tensor:
        return (image / 255 - self.mean.to(image.device)) / self.std.to(image.device)
