"""The phase ``pretrain``: the whole networks that fine-tuning starts from, trained here or ready-made."""

from collections.abc import Sequence

from medtransfer.models.classifier import build_network, require_network
from medtransfer.models.networks import network_config
from medtransfer.studies.truncated_transfer import study
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.training.fitting import FitSpec, Setting
from medtransfer.training.initialization import write_ready_made
from medtransfer.training.loading import open_dataset, supervised_loader
from medtransfer.training.run import Plan
from medtransfer.training.supervised import SupervisedTask
from medtransfer.training.validation import supervised_validation


def plan(
    config: TruncatedTransferConfig, phase: str, variant: str, conditions: Sequence[str], setting: Setting
) -> Plan:
    """Return the fit that trains a whole network from scratch, or a plan that writes ready-made weights instead.

    Raises:
        ModelError: see :func:`require_variants`.
    """
    del conditions
    require_variants(config)
    if config.start[variant].kind == "train":
        return Plan(fits=[_fit(config, phase, variant, setting)])
    network, init, fit = network_config(variant), config.start[variant], study.source(variant)
    return Plan(write=lambda: write_ready_made(network, init, [fit]))


def require_variants(config: TruncatedTransferConfig) -> None:
    """Refuse variants whose networks cannot be built, before the first one trains for hours; nothing is computed.

    Raises:
        ModelError: a backbone or a cut does not exist, or a network cannot process images of the crop size.
    """
    structures = {config.variant(name).network: config.structure(name) for name in config.variants}
    for structure in structures.values():
        require_network(structure, side=config.augment.crop)


def _fit(config: TruncatedTransferConfig, phase: str, backbone: str, setting: Setting) -> FitSpec:
    settings, seed = config.pretrain, study.PRETRAINED_SEED
    assert settings is not None  # the configuration requires it where a network is trained here
    data = open_dataset(settings.dataset)
    network, classes = network_config(backbone).model_copy(update={"dropout": settings.dropout}), data.meta.classes
    return FitSpec(
        **vars(study.source(backbone)),
        paper=study.PAPER,
        phase=phase,
        title=f"{backbone} · {settings.dataset}",
        tags={"network": backbone},
        settings=settings,
        train=settings.train,
        crop=settings.augment.crop,
        data={settings.dataset: data},
        loaders=supervised_loader(data, settings, seed, setting.engine),
        network=network,
        task=lambda: SupervisedTask(build_network(network, classes=len(classes), seed=seed), classes),
        validate=supervised_validation(data, settings.augment.crop, setting.engine, positive=None),
    )
