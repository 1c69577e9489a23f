"""Wiring of the four phases: which data, network, start, task and validation each fit has."""

from functools import partial
from pathlib import Path

from medtransfer import paths
from medtransfer.errors import ConfigError
from medtransfer.models.classifier import Classifier, NetworkConfig, build_network
from medtransfer.models.weights import load_into, save_weights
from medtransfer.ssl.methods import build as build_method
from medtransfer.ssl.regions import locate
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig, chain_title
from medtransfer.training import starts
from medtransfer.training.fitting import Parent, Setting, Variant, make_job
from medtransfer.training.loading import open_dataset, self_supervised_loader, supervised_loader, training_regions
from medtransfer.training.run import Job
from medtransfer.training.starts import UNTRAINED_CLASSES, UNTRAINED_HEADS
from medtransfer.training.task import SelfSupervisedTask, SupervisedTask, Task
from medtransfer.training.validation import probe_validation, supervised_validation

STUDY = "attentive_transfer"
PAPER = "Liu & Ji 2021"


def start_folder(network: str) -> Path:
    """Folder of a network's starting weights: the chain ``none``."""
    return paths.variant(STUDY, "pretrained", f"{network}-none")


def pretrained_folder(network: str, chain: str) -> Path:
    """Folder of a network after a pretraining chain."""
    return paths.variant(STUDY, "pretrained", f"{network}-{chain}")


def finetuned_folder(network: str, chain: str) -> Path:
    """Folder of a network fine-tuned after a chain."""
    return paths.variant(STUDY, "finetuned", f"{network}-{chain}")


def write_start(config: AttentiveTransferConfig, network: str) -> None:
    """Write the untrained network of every seed: random weights, the same for every chain that starts from it."""
    settings = config.network(network)
    for seed in sorted({*config.seeds, *config.pretrain_seeds}):
        model = build_network(settings, classes=len(UNTRAINED_CLASSES), seed=seed)
        folder = start_folder(network) / "weights" / f"seed{seed}"
        extra = {"chain": "none", "seed": seed}
        save_weights(model, folder, config=settings, heads=UNTRAINED_HEADS, preprocessing={}, extra=extra)


def write_ready_made(config: AttentiveTransferConfig, network: str) -> None:
    """Write the chain ``stl_n`` from ready-made weights, which load exactly under the identity ATTN layers."""
    folder = pretrained_folder(network, "stl_n")
    starts.write_ready_made(config.network(network), config.start, folder, seeds=config.pretrain_seeds, name="stl_n")


def jobs(config: AttentiveTransferConfig, phase: str, network: str, chain: str, setting: Setting) -> list[Job]:
    """Return the fits of one stage, one a seed.

    Args:
        config: the study's parameters.
        phase: ``stl_n``, ``stl_m``, ``sstl_m`` (with the method that the chain's last step names) or ``finetune``.
        network: a name out of ``config.networks``.
        chain: of a pretraining phase the chain that it completes, of ``finetune`` the chain that it starts from.
        setting: device and lineage.
    """
    if network not in config.networks:
        raise ConfigError(f"network {network!r} is not in attentive_transfer.networks: {', '.join(config.networks)}")
    build = _self_supervised if phase == "sstl_m" else _supervised
    seeds = config.seeds if phase == "finetune" else config.pretrain_seeds
    return [build(config, phase, network, chain, seed, setting) for seed in seeds]


def _supervised(
    config: AttentiveTransferConfig, phase: str, network: str, chain: str, seed: int, setting: Setting
) -> Job:
    settings = getattr(config, phase)
    data = open_dataset(settings.dataset)
    structure = config.network(network, settings.dropout)
    parent = _parent(config, phase, network, chain, seed)
    positive = config.positive if phase == "finetune" else None
    return make_job(
        _variant(config, phase, network, chain, seed),
        settings,
        setting,
        parent=parent,
        data=data,
        task=lambda: SupervisedTask(_started(structure, len(data.meta.classes), seed, parent), data.meta.classes),
        loader=supervised_loader(data, settings, seed, setting.engine),
        validate=supervised_validation(data, settings.augment.crop, setting.engine, positive=positive),
        network=structure,
        positive=positive or "",
    )


def _self_supervised(
    config: AttentiveTransferConfig, phase: str, network: str, chain: str, seed: int, setting: Setting
) -> Job:
    settings = config.recipe(chain)
    if settings is None:
        named = ", ".join(("sstl_m", *config.recipes))
        raise ConfigError(f"chain {chain!r} ends with no self-supervised step, expected one of {named}")
    data = open_dataset(settings.dataset)
    structure = config.network(network)
    parent = _parent(config, phase, network, chain, seed)
    regions = training_regions(data, partial(locate, table=settings.boxes)) if settings.wants_regions else None
    loader = self_supervised_loader(data, settings, seed, setting.engine, regions=regions)

    def task() -> Task:
        encoder = _started(structure, len(data.meta.classes), seed, parent)
        method = build_method(settings.method, encoder, images=len(loader.rows), batch_size=settings.train.batch_size)
        return SelfSupervisedTask(method, data.meta.classes)

    return make_job(
        _variant(config, phase, network, chain, seed),
        settings,
        setting,
        parent=parent,
        data=data,
        task=task,
        loader=loader,
        validate=probe_validation(
            data,
            settings.augment.crop,
            setting.engine,
            views=loader,
            positive=config.positive,
            neighbours=settings.probe_neighbours,
        ),
        network=structure,
        counts=regions.counts() if regions else {},
    )


def _started(structure: NetworkConfig, classes: int, seed: int, parent: Parent) -> Classifier:
    """Build a network and put the parent's trunk and ATTN layers into it; the head is new for the new labels."""
    model = build_network(structure, classes=classes, seed=seed)
    load_into(model, parent.folder, head=False)
    return model


def source_seed(config: AttentiveTransferConfig, chain: str, seed: int) -> int:
    """Return the seed of the weights that a fine-tuning seed starts from; without transfer every seed has its own."""
    return seed if chain == "none" else config.pretrain_seeds[config.seeds.index(seed) % len(config.pretrain_seeds)]


def _parent(config: AttentiveTransferConfig, phase: str, network: str, chain: str, seed: int) -> Parent:
    """Find the weights a fit starts from: the chain without its last step, or the whole chain for fine-tuning."""
    before = chain if phase == "finetune" else (chain.rpartition("-")[0] or "none")
    seed = source_seed(config, before, seed) if phase == "finetune" else seed
    return Parent.read(pretrained_folder(network, before) / "weights" / f"seed{seed}")


def _variant(config: AttentiveTransferConfig, phase: str, network: str, chain: str, seed: int) -> Variant:
    structure = config.network(network)
    layers = len(structure.attention.sites) or structure.attention.count
    return Variant(
        study=STUDY,
        phase=phase,
        network=network,
        attention=f"{layers} ATTN",
        chain=chain,
        chain_title=chain_title(chain),
        seed=seed,
        paper=PAPER,
        method=_method(config, chain),
    )


def _method(config: AttentiveTransferConfig, chain: str) -> str:
    """Name the self-supervised method of a chain: a recipe by its own name, the paper's by that of the method."""
    recipe, step = config.recipe(chain), chain.rpartition("-")[2]
    if recipe is None:
        return ""
    return recipe.method.name if step == "sstl_m" else step
