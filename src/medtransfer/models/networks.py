"""Every network by its name: ``network_config(name)`` turns a name into a configuration; ``AnyNetwork`` is all of them.

========================  ==============================================================================
name                      network
========================  ==============================================================================
``densenet121``           timm's network, whole
``resnet18_to_layer2.0``  timm's network cut after a named block: ``<timm name>_to_<block>``
``densenet121_pcam``      timm's network with PCAM pooling (Park et al. 2022): ``<timm name>_pcam``
``resnet50_t1`` … ``t5``  ResNet-50 cut as Res-T1 … Res-T5 of Peng et al. 2021; also ``res_t1`` …
``densenet121_t1`` … 3    DenseNet-121 cut as Dens-T1 … Dens-T3; also ``dens_t1`` …
``densenet121_s1`` … 3    slim DenseNet-121, Dens-S1 … Dens-S3; also ``dens_s1`` …; any DenseNet of timm
``cbr_larget``            CBR, also ``largew``, ``small``, ``tiny``, ``tiny_w32``; ``…_same`` with padding
========================  ==============================================================================
"""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from medtransfer.errors import ModelError
from medtransfer.models.cbr import CBRConfig
from medtransfer.models.classifier import NetworkConfig
from medtransfer.models.multitask import MultitaskConfig
from medtransfer.models.slim import SlimConfig
from medtransfer.models.visual import BenchmarkConfig, ConvolutionHeadConfig

AnyNetwork = Annotated[
    NetworkConfig | SlimConfig | CBRConfig | MultitaskConfig | BenchmarkConfig | ConvolutionHeadConfig,
    Field(discriminator="kind"),
]

_CUTS = {
    "resnet50_t1": "layer3.0",
    "resnet50_t2": "layer3.4",
    "resnet50_t3": "layer4.0",
    "resnet50_t4": "layer4.1",
    "resnet50_t5": "layer4.2",
    "densenet121_t1": "features.transition1",
    "densenet121_t2": "features.transition2",
    "densenet121_t3": "features.transition3",
}
"""The cuts of Peng et al. 2021, as the convolutions that their Table names tell (reference, section 4.1)."""

_NUMBERED = re.compile(r"(?P<backbone>resnet50|densenet121)_t\d+")
_SLIM = re.compile(r"(?P<backbone>densenet\w*)_s(?P<after>\d)")
_CBR = re.compile(r"cbr_(?P<size>\w+?)(?P<same>_same)?")


def network_config(
    name: str, *, head: Literal["gap", "flatten"] = "gap", size: int | None = None
) -> NetworkConfig | SlimConfig | CBRConfig:
    """Return the configuration of a named network (the table above).

    Args:
        name: the network's name.
        head: what the linear head reads: the map's mean over positions, or all of it (G-3).
        size: side in pixels of the images; needed by a flattened head alone.

    Raises:
        ModelError: a flattened head without a size, or a CBR network that does not exist. Whether timm knows a backbone
            and whether a cut exists shows when the network is built.
    """
    if head == "flatten" and size is None:
        raise ModelError(f"network {name!r}: a flattened head needs the images' size in pixels; give size")
    options: dict[str, Any] = {"flatten_at": size} if head == "flatten" else {}
    full = re.sub(r"^(res|dens)_(?=[ts]\d+$)", lambda m: {"res": "resnet50_", "dens": "densenet121_"}[m[1]], name)
    if full in _CUTS:
        return NetworkConfig(backbone=full.partition("_")[0], cut=_CUTS[full], **options)
    if numbered := _NUMBERED.fullmatch(full):
        known = ", ".join(cut for cut in _CUTS if cut.startswith(numbered["backbone"]))
        raise ModelError(
            f"cut {name!r} does not exist; there are {known}, and any block as {numbered['backbone']}_to_<block>"
        )
    if slim := _SLIM.fullmatch(full):
        return SlimConfig(backbone=slim["backbone"], after=int(slim["after"]), **options)
    if cbr := _CBR.fullmatch(full):
        return _cbr(cbr["size"], padded=cbr["same"] is not None, options=options)
    backbone, _, cut = full.removesuffix("_pcam").partition("_to_")
    pooling: Literal["average", "pcam"] = "pcam" if full.endswith("_pcam") else "average"
    return NetworkConfig(backbone=backbone, cut=cut, pooling=pooling, **options)


def _cbr(size: Any, *, padded: bool, options: dict[str, Any]) -> CBRConfig:
    sizes = get_args(CBRConfig.model_fields["size"].annotation)
    if size not in sizes:
        raise ModelError(f"network 'cbr_{size}' does not exist; there are {', '.join(f'cbr_{s}' for s in sizes)}")
    return CBRConfig(size=size, padding="same" if padded else "valid", **options)
