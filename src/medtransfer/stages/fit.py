"""``medtransfer fit STUDY PHASE --network N --chain C``: train every seed of one variant."""

from argparse import Namespace

from medtransfer import paths
from medtransfer.params import load_params
from medtransfer.studies.attentive_transfer import study
from medtransfer.training.engine import Engine
from medtransfer.training.fitting import Setting
from medtransfer.training.run import run_stage


def run(options: Namespace) -> None:
    """Train, track and store one variant; a killed stage continues where it stopped."""
    params = load_params()
    if options.phase == "stl_n" and params.attentive_transfer.start.kind != "train":
        study.write_ready_made(params.attentive_transfer, options.network)
        return
    setting = Setting(engine=Engine(params.hardware), profile=params.profile, pointers=params.pointers)
    jobs = study.jobs(params.attentive_transfer, options.phase, options.network, options.chain, setting)
    folder = study.finetuned_folder if options.phase == "finetune" else study.pretrained_folder
    name = f"{options.study}-{options.phase}-{options.network}-{options.chain}"
    run_stage(name, jobs, out=paths.workspace() / folder(options.network, options.chain), engine=setting.engine)
