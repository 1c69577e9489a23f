"""How chains and their steps are written in tables and figures."""

_STEPS = {
    "moco": "MoCo",
    "moco_v2": "MoCo v2",
    "simclr": "SimCLR",
    "image_scale": "image scale alone",
    "region_scale": "regions alone",
}


def chain_title(chain: str) -> str:
    """Return how a chain is written: ``no transfer``, ``STL-M``, ``STL-N → STL-M``."""
    steps = [step_title(step) for step in chain.split("-") if step != "none"]
    return " → ".join(steps) or "no transfer"


def step_title(step: str) -> str:
    """Return how one step of a chain is written: ``STL-N``, ``MoCo v2``."""
    return _STEPS.get(step, step.upper().replace("_", "-"))
