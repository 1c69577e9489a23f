"""How networks and chains of this study are named and written in tables and figures."""

import re

_STEPS = {
    "warm_up": "warm-up",
    "moco": "MoCo",
    "moco_v2": "MoCo v2",
    "simclr": "SimCLR",
    "image_scale": "image scale alone",
    "region_scale": "regions alone",
}


WARM_UP = "warm_up"
"""The step that trains inserted layers and a new head alone."""
NETWORK = re.compile(r"(?P<backbone>.+)_(?P<kind>attn|conv)(?P<count>\d+)")
"""``<timm name>_attn<number of ATTN layers>``, ``<timm name>_conv<number of convolutions in their place>``."""


def backbone(network: str) -> str:
    """Return timm's name of a network without its inserted layers."""
    return NETWORK.sub(r"\g<backbone>", network)


def inserted_layers(network: str) -> int:
    """Return the number of a network's inserted layers, ATTN or their control."""
    match = NETWORK.fullmatch(network)
    return int(match["count"]) if match else 0


def attention_layers(network: str) -> int:
    """Return the number of a network's ATTN layers."""
    return 0 if is_control(network) else inserted_layers(network)


def is_control(network: str) -> bool:
    """Return whether a network has convolutions in the place of ATTN layers."""
    match = NETWORK.fullmatch(network)
    return match is not None and match["kind"] == "conv"


def plain(network: str) -> str:
    """Return the name of the same backbone without inserted layers."""
    return f"{backbone(network)}_attn0"


def control(network: str) -> str:
    """Return the name of the control of a network with ATTN."""
    return f"{backbone(network)}_conv{inserted_layers(network)}"


def without_warm_up(chain: str) -> str:
    """Return the same chain without the step in which only inserted layers are trained."""
    return chain.replace(f"-{WARM_UP}", "")


def has_warm_up(chain: str) -> bool:
    """Return whether inserted layers were trained alone along a chain."""
    return WARM_UP in chain.split("-")


def network_title(network: str) -> str:
    """Return how a network is written: ``resnet50``, ``resnet50 + 5 ATTN``, ``resnet50 + 5 convolutions``."""
    layers = inserted_layers(network)
    what = "convolutions" if is_control(network) else "ATTN"
    return backbone(network) + (f" + {layers} {what}" if layers else "")


def chain_title(chain: str) -> str:
    """Return how a chain is written: ``no transfer``, ``STL-M``, ``STL-N → STL-M``."""
    steps = [step_title(step) for step in chain.split("-") if step != "none"]
    return " → ".join(steps) or "no transfer"


def step_title(step: str) -> str:
    """Return how one step of a chain is written: ``STL-N``, ``MoCo v2``."""
    return _STEPS.get(step, step.upper().replace("_", "-"))
