"""The phase ``corpus``: backbones that know common findings, from random or ready-made weights on."""

from collections.abc import Sequence

from medtransfer.models.classifier import build_network
from medtransfer.models.networks import network_config
from medtransfer.models.weights import load_into
from medtransfer.studies.multitask_vit import study
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig
from medtransfer.training.fitting import FitSpec, Parent, Setting
from medtransfer.training.initialization import write_ready_made
from medtransfer.training.loading import open_dataset, supervised_loader
from medtransfer.training.run import Plan
from medtransfer.training.supervised import MultiLabelTask
from medtransfer.training.validation import multilabel_validation


def plan(config: MultitaskVitConfig, phase: str, variant: str, conditions: Sequence[str], setting: Setting) -> Plan:
    """Return how ready-made weights are written, and the fit that trains a backbone on findings."""
    del conditions  # there is one
    chosen, ready = config.backbones[variant], study.backbone(variant, study.READY)
    ready_made = chosen.start.kind != "train"

    def write() -> None:
        write_ready_made(network_config(chosen.network), chosen.start, [ready])

    def fits(_: object = None) -> list[FitSpec]:
        return [_fit(config, phase, variant, Parent.read(ready) if ready_made else None, setting)]

    return Plan(write=write if ready_made else None, then=fits if chosen.findings else None)


def _fit(config: MultitaskVitConfig, phase: str, backbone: str, parent: Parent | None, setting: Setting) -> FitSpec:
    settings, engine, seed = config.corpus, setting.engine, study.CORPUS_SEED
    data, findings = open_dataset(settings.dataset), settings.findings
    network = network_config(config.backbones[backbone].network)

    def task() -> MultiLabelTask:
        model = build_network(network, len(findings), seed=seed)
        if parent:
            load_into(model, parent.folder, head=False)
        return MultiLabelTask(model, findings)

    return FitSpec(
        **vars(study.backbone(backbone)),
        paper=study.PAPER,
        phase=phase,
        title=f"{backbone} · {settings.dataset}",
        tags={"network": network.title},
        settings=settings,
        train=settings.train,
        crop=settings.augment.crop,
        data={settings.dataset: data},
        loaders=supervised_loader(data, settings, seed, engine, outputs=findings, blank=True),
        network=network,
        task=task,
        validate=multilabel_validation(data, settings.augment.crop, engine, findings=findings, blank=True),
        parent=parent,
    )
