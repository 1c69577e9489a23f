"""What the fits of all phases share: names, the weights they start from, and how these are loaded."""

from typing import Any

from medtransfer.models.classifier import Classifier, NetworkConfig, build_network
from medtransfer.models.weights import load_into
from medtransfer.studies.attentive_transfer import study
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig, chain_title
from medtransfer.training.fitting import Parent


def fit_names(config: AttentiveTransferConfig, phase: str, network: str, chain: str, seed: int) -> dict[str, Any]:
    """Return the names and tags of a fit of this study, as arguments of :class:`FitSpec`."""
    structure = config.network(network)
    layers, method = len(structure.attention.sites) or structure.attention.count, _method(config, chain)
    kind = "ATTN" if structure.attention.kind == "attention" else "convolutions"
    tags = {"network": network, "attention": f"{layers} {kind}", "chain": chain, "chain_title": chain_title(chain)}
    suffix = "" if chain_title(chain).endswith(method) else method
    return {
        "study": study.NAME,
        "paper": study.PAPER,
        "phase": phase,
        "folder": study.PHASES[phase].folder,
        "variant": network,
        "condition": chain,
        "seed": seed,
        "title": " · ".join(part for part in (network, chain_title(chain), suffix) if part),
        "tags": tags | {"method": method},
    }


def started(structure: NetworkConfig, classes: int, seed: int, parent: Parent) -> Classifier:
    """Build a network and load the parent's trunk and inserted layers; the head is new for the new labels."""
    model = build_network(structure, classes=classes, seed=seed)
    load_into(model, parent.folder, head=False)
    return model


def parent_of(config: AttentiveTransferConfig, phase: str, network: str, chain: str, seed: int) -> Parent:
    """Return the weights a fit starts from: the chain without its last step, or the whole chain for fine-tuning."""
    before = chain if phase == "finetune" else (chain.rpartition("-")[0] or "none")
    origin = study.source_seed(config, before, seed) if phase == "finetune" else seed
    return Parent.read(study.source(network, before, origin))


def _method(config: AttentiveTransferConfig, chain: str) -> str:
    """Return the name of a chain's self-supervised method: of a recipe its own name, of SSTL-M its method's name."""
    recipe, step = config.recipe(chain), chain.rpartition("-")[2]
    if recipe is None:
        return ""
    return recipe.method.name if step == "sstl_m" else step
