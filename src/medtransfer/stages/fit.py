"""``medtransfer fit STUDY PHASE …``: train every seed of one variant of a study."""

from argparse import Namespace

from medtransfer import paths
from medtransfer.errors import ConfigError
from medtransfer.params import Params, load_params
from medtransfer.training.engine import Engine
from medtransfer.training.fitting import Setting
from medtransfer.training.run import run_stage


def run(options: Namespace) -> None:
    """Train, track and store one variant; a killed stage continues where it stopped."""
    params = load_params()
    {"attentive_transfer": _attentive, "truncated_transfer": _truncated}[options.study](options, params)


def _attentive(options: Namespace, params: Params) -> None:
    from medtransfer.studies.attentive_transfer import study

    config = params.attentive_transfer
    if options.phase == "stl_n" and config.start.kind != "train":
        study.write_ready_made(config, options.network)
        return
    setting = _setting(params)
    jobs = study.jobs(config, options.phase, options.network, options.chain, setting)
    folder = study.finetuned_folder if options.phase == "finetune" else study.pretrained_folder
    name = f"{options.study}-{options.phase}-{options.network}-{options.chain}"
    run_stage(name, jobs, out=paths.workspace() / folder(options.network, options.chain), engine=setting.engine)


def _truncated(options: Namespace, params: Params) -> None:
    from medtransfer.studies.truncated_transfer import study

    config = params.truncated_transfer
    if (options.phase == "pretrain") != (options.network is not None):
        raise ConfigError("fit truncated_transfer: pretrain takes --network, finetune takes --arm")
    if options.phase == "pretrain" or not config.start:  # the first stage that the study runs
        study.require_variants(config)
    if options.phase == "finetune":
        setting = _setting(params)
        jobs, then = study.jobs(config, options.arm, setting)
        out = paths.workspace() / study.finetuned_folder(options.arm)
        run_stage(f"{options.study}-{options.arm}", jobs, out=out, engine=setting.engine, then=then)
    elif config.start[options.network].kind != "train":
        study.write_ready_made(config, options.network)
    else:
        setting = _setting(params)
        jobs = study.pretrain_jobs(config, options.network, setting)
        out = paths.workspace() / study.pretrained_folder(options.network)
        run_stage(f"{options.study}-pretrain-{options.network}", jobs, out=out, engine=setting.engine)


def _setting(params: Params) -> Setting:
    return Setting(engine=Engine(params.hardware), profile=params.profile, pointers=params.pointers)
