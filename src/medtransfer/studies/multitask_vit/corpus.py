"""The phase ``corpus``: backbones that know common findings, trained here or ready-made."""

from collections.abc import Sequence

from medtransfer.models.classifier import build_network
from medtransfer.models.networks import network_config
from medtransfer.studies.multitask_vit import study
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig
from medtransfer.training.fitting import FitSpec, Setting
from medtransfer.training.initialization import write_ready_made
from medtransfer.training.loading import open_dataset, supervised_loader
from medtransfer.training.run import Plan
from medtransfer.training.supervised import MultiLabelTask
from medtransfer.training.validation import multilabel_validation


def plan(config: MultitaskVitConfig, phase: str, variant: str, conditions: Sequence[str], setting: Setting) -> Plan:
    """Return the fit that trains a backbone, or a plan that writes ready-made weights."""
    del conditions  # there is one
    start = config.start[variant]
    if start.kind != "train":
        return Plan(write=lambda: write_ready_made(network_config(variant), start, [study.backbone(variant)]))
    return Plan(fits=[_fit(config, phase, variant, setting)])


def _fit(config: MultitaskVitConfig, phase: str, backbone: str, setting: Setting) -> FitSpec:
    settings, engine, seed = config.corpus, setting.engine, study.CORPUS_SEED
    data, network, findings = open_dataset(settings.dataset), network_config(backbone), settings.findings
    return FitSpec(
        **vars(study.backbone(backbone)),
        paper=study.PAPER,
        phase=phase,
        title=f"{backbone} · {settings.dataset}",
        tags={"network": backbone},
        settings=settings,
        train=settings.train,
        crop=settings.augment.crop,
        data={settings.dataset: data},
        loaders=supervised_loader(data, settings, seed, engine, outputs=findings, blank=True),
        network=network,
        task=lambda: MultiLabelTask(build_network(network, len(findings), seed=seed), findings),
        validate=multilabel_validation(data, settings.augment.crop, engine, findings=findings, blank=True),
    )
