import numpy as np

from medtransfer.evaluation.summary import patient_interval
from medtransfer.reporting.evaluation import evaluation_markdown


def lines(target, score):
    patients = range(len(target))
    metrics = {name: patient_interval(name, target, score, patients, draws=50) for name in ("auroc", "f1")}
    report = evaluation_markdown("m", {"name": "ct"}, {"covid": metrics}, asked=["covid"])
    return [line for line in report.splitlines() if line.startswith(("| auroc", "| f1"))]


def test_enough_patients_have_an_interval():
    target = np.arange(60) % 2
    auroc, _ = lines(target, np.random.default_rng(0).random(60) * 0.7 + 0.3 * target)
    assert " … " in auroc


def test_one_positive_patient_prints_no_interval_of_zero():
    auroc, f1 = lines(np.eye(1, 60)[0], np.linspace(0, 1, 60))
    assert auroc == "| auroc | 0.000 | too few patients: 1 in the smallest class, 20 are needed |"
    assert f1.endswith("| too few patients: 1 in the smallest class, 20 are needed |")


def test_one_class_prints_a_reason_and_no_nan():
    auroc, _ = lines(np.ones(60), np.linspace(0, 1, 60))
    assert auroc == "| auroc | — | auroc is undefined: there is no negative row |"
