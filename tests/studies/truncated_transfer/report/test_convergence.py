from medtransfer.studies.truncated_transfer.report.convergence import (
    convergence,
    convergence_figure,
    convergence_table,
    counting,
    validation_curves,
)

VARIANT = "densenet121-transfer"


def test_fits_are_distinguished_from_trials_and_pretraining(recorded, config):
    assert len(recorded) == 1 + 2 * (2 + 1) * len(config.variants)
    assert len(counting(recorded)) == 2 * 2 * len(config.variants)


def test_time_to_the_best_is_its_share_of_the_steps(recorded):
    best = convergence(recorded).query("variant == @VARIANT and condition == 'ct-all-tuned'").set_index("seed")
    assert best["step"].to_dict() == {0: 30, 1: 40}
    assert best["best"].to_dict() == {0: 0.9, 1: 0.9}
    assert best["share"].to_dict() == {0: 0.75, 1: 1.0}
    assert best["seconds"].to_dict() == {0: 60.0, 1: 80.0}


def test_trials_have_no_row(recorded, config):
    assert set(convergence(recorded)["condition"]) == {condition.name for condition in config.conditions()}


def test_the_table_gives_mean_and_sd_over_seeds(recorded, config):
    row = convergence_table(convergence(recorded), config).rows[1]
    assert [cell.main for cell in row] == [
        "ct · all · tuned",
        "DenseNet-121",
        "TL",
        "0.900 ± 0.000",
        "35 ± 7",
        "88 %",
        "4.4 ± 0.9",
        "70.0 ± 14.1",
    ]


def test_fits_that_recorded_no_epochs_have_a_dash(recorded, config):
    best = convergence(recorded).assign(epochs=float("nan"))
    assert convergence_table(best, config).rows[1][6].main == "—"


def test_a_study_without_records_has_an_empty_table(config):
    assert convergence_table(convergence([]), config).rows == ()


def test_a_variant_is_named_once_for_all_its_seeds(recorded, config):
    svg = convergence_figure(validation_curves(recorded), config).svg
    assert svg.count(">Dens-S1 · transfusion<") == 1
