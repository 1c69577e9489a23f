"""The phase SSTL-M and the methods compared with it: two views of CT slices, and their lobe regions."""

from collections.abc import Sequence
from functools import partial

from medtransfer.ssl.methods import build as build_method
from medtransfer.ssl.regions import locate
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig, SelfSupervisedPhase
from medtransfer.studies.attentive_transfer.fits import fit_names, parent_of, started
from medtransfer.training.fitting import FitSpec, Setting
from medtransfer.training.loading import open_dataset
from medtransfer.training.run import Plan
from medtransfer.training.self_supervised import (
    SelfSupervisedTask,
    probe_validation,
    self_supervised_loader,
    training_regions,
)


def plan(
    config: AttentiveTransferConfig, phase: str, variant: str, conditions: Sequence[str], setting: Setting
) -> Plan:
    """Return the fits of a network along chains whose last step is self-supervised."""
    fits = [
        _fit(config, phase, variant, chain, seed, setting) for chain in conditions for seed in config.pretrain_seeds
    ]
    return Plan(fits=fits)


def _fit(config: AttentiveTransferConfig, phase: str, network: str, chain: str, seed: int, setting: Setting) -> FitSpec:
    settings: SelfSupervisedPhase = config.self_supervised(chain)
    data = open_dataset(settings.dataset)
    structure, classes = config.network(network), data.meta.classes
    parent = parent_of(config, phase, network, chain, seed)
    regions = training_regions(data, partial(locate, table=settings.boxes)) if settings.wants_regions else None
    loader = self_supervised_loader(data, settings, seed, setting.engine, regions=regions)

    def task() -> SelfSupervisedTask:
        encoder = started(structure, len(classes), seed, parent)
        size = {"images": len(loader.rows), "batch_size": settings.train.batch_size}
        method = build_method(settings.method, encoder, **size, seed=seed)
        return SelfSupervisedTask(method, classes)

    return FitSpec(
        **fit_names(config, phase, network, chain, seed),
        settings=settings,
        train=settings.train,
        crop=settings.augment.crop,
        data={settings.dataset: data},
        loaders=loader,
        network=structure,
        task=task,
        validate=probe_validation(
            data,
            settings.augment.crop,
            setting.engine,
            views=loader,
            positive=config.positive,
            neighbours=settings.probe_neighbours,
        ),
        parent=parent,
        counts=regions.counts() if regions else {},
    )
