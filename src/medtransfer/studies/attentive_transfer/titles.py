"""How networks and chains of this study are named and written in tables and figures."""

_STEPS = {
    "moco": "MoCo",
    "moco_v2": "MoCo v2",
    "simclr": "SimCLR",
    "image_scale": "image scale alone",
    "region_scale": "regions alone",
}


def attention_layers(network: str) -> int:
    """Return the number of ATTN layers of a network, from its name ``<backbone>_attn<number>``."""
    return int(network.rpartition("_attn")[2])


def plain(network: str) -> str:
    """Return the name of the same backbone without ATTN."""
    return f"{network.rpartition('_attn')[0]}_attn0"


def network_title(network: str) -> str:
    """Return how a network is written in tables and figures: ``resnet50``, ``resnet50 + 5 ATTN``."""
    layers = attention_layers(network)
    return network.rpartition("_attn")[0] + (f" + {layers} ATTN" if layers else "")


def chain_title(chain: str) -> str:
    """Return how a chain is written: ``no transfer``, ``STL-M``, ``STL-N → STL-M``."""
    steps = [step_title(step) for step in chain.split("-") if step != "none"]
    return " → ".join(steps) or "no transfer"


def step_title(step: str) -> str:
    """Return how one step of a chain is written: ``STL-N``, ``MoCo v2``."""
    return _STEPS.get(step, step.upper().replace("_", "-"))
