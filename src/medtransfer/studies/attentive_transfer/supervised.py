"""The phases that learn from labels: STL-N, the warm-up of inserted layers, STL-M and fine-tuning."""

from collections.abc import Sequence

from medtransfer.models.classifier import freeze_trunk
from medtransfer.studies.attentive_transfer import study
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.studies.attentive_transfer.fits import fit_names, parent_of, started
from medtransfer.training.fitting import FitSpec, Setting
from medtransfer.training.initialization import write_ready_made
from medtransfer.training.loading import open_dataset, supervised_loader
from medtransfer.training.run import Plan
from medtransfer.training.supervised import SupervisedTask
from medtransfer.training.validation import supervised_validation


def plan(
    config: AttentiveTransferConfig, phase: str, variant: str, conditions: Sequence[str], setting: Setting
) -> Plan:
    """Return the fits of a network along chains; with ready-made STL-N weights, write these instead of fitting."""
    if phase == "stl_n" and config.start.kind != "train":
        fits = [study.source(variant, condition, seed) for condition in conditions for seed in config.pretrain_seeds]
        return Plan(write=lambda: write_ready_made(config.network(variant), config.start, fits))
    seeds = config.seeds if phase == "finetune" else config.pretrain_seeds
    return Plan(fits=[_fit(config, phase, variant, chain, seed, setting) for chain in conditions for seed in seeds])


def _fit(config: AttentiveTransferConfig, phase: str, network: str, chain: str, seed: int, setting: Setting) -> FitSpec:
    settings = getattr(config, phase)
    data = open_dataset(settings.dataset)
    structure, classes = config.network(network, settings.dropout), data.meta.classes
    parent = parent_of(config, phase, network, chain, seed)
    positive = config.positive if phase == "finetune" else ""

    def task() -> SupervisedTask:
        model = started(structure, len(classes), seed, parent)
        if phase == "warm_up":
            freeze_trunk(model)
        return SupervisedTask(model, classes)

    return FitSpec(
        **fit_names(config, phase, network, chain, seed),
        settings=settings,
        train=settings.train,
        crop=settings.augment.crop,
        data={settings.dataset: data},
        loaders=supervised_loader(data, settings, seed, setting.engine),
        network=structure,
        task=task,
        validate=supervised_validation(data, settings.augment.crop, setting.engine, positive=positive or None),
        parent=parent,
        positive=positive,
    )
