import json

import pandas as pd
import pytest

from medtransfer.reporting.records import recorded_fits
from medtransfer.studies.truncated_transfer.report.convergence import convergence
from medtransfer.studies.truncated_transfer.report.learning_rates import Rates, learning_rates, rates_table, undertuned

VARIANT = "densenet121-transfer"


def record(folder, rate, best):
    """A journal as a fit leaves it: tags in the event that opens the run, the best validation among its metrics."""
    folder.mkdir(parents=True)
    events = [
        {"kind": "open", "tags": {"learning_rate": f"{rate:g}", "phase": "finetune"}},
        {"kind": "metrics", "step": 20, "values": {"best/auprc": best}},
    ]
    lines = [json.dumps({"seq": number, "time": 1.0} | event) for number, event in enumerate(events)]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture
def fits(tmp_path, config):
    condition = tmp_path / "records/finetune" / VARIANT / "ct-all-tuned"
    for rate, best in ((1e-4, 0.6), (1e-3, 0.8), (1e-2, 0.7)):
        record(condition.with_name(f"{condition.name}-trial{rate:g}") / "seed0", rate, best)
    for seed in config.seeds:
        record(condition / f"seed{seed}", 1e-3, 0.9)
    return recorded_fits(tmp_path, config.variants)


def best(*shares):
    rows = {"variant": VARIANT, "condition": "ct-all-tuned", "seed": range(len(shares)), "share": shares}
    return pd.DataFrame(rows)


def test_the_rate_of_every_variant_comes_from_its_records_with_those_it_was_chosen_from(fits, config):
    assert learning_rates(fits, config) == {(VARIANT, "ct-all-tuned"): Rates(1e-3, {1e-4: 0.6, 1e-3: 0.8, 1e-2: 0.7})}


@pytest.mark.parametrize(
    ("taken", "tried", "edge"),
    [(1.0, (1, 2, 3), "lowest"), (2.0, (1, 2, 3), ""), (3.0, (1, 2, 3), "highest"), (1.0, (1,), ""), (1.0, (), "")],
)
def test_the_edge_is_that_of_the_rates_that_were_tried(taken, tried, edge):
    assert Rates(taken, dict.fromkeys(map(float, tried), 0.5)).edge == edge


def test_the_table_shows_rate_edge_and_the_fits_that_had_not_converged(fits, config):
    (row,) = rates_table(learning_rates(fits, config), best(0.5, 1.0), config).rows
    assert [cell.main for cell in row] == [
        "ct · all · tuned",
        "DenseNet-121",
        "TL",
        "0.001",
        "no",
        "50 %, 100 %",
        "1 of 2 fits",
    ]
    assert row[3].detail == "0.0001: 0.600, 0.001: 0.800, 0.01: 0.700"


def test_a_report_says_how_many_choices_and_fits_are_at_their_limit():
    ends = {
        (VARIANT, str(n)): Rates(rate, {1.0: 0.1, 2.0: 0.2, 3.0: 0.3}) for n, rate in enumerate((1.0, 2.0, 3.0, 3.0))
    }
    limits = undertuned(ends, best(0.5, 1.0, 1.0))
    assert limits[0].startswith("Of 4 learning rates chosen by trials, 2 the highest and 1 the lowest of its grid")
    assert limits[1] == "In 2 of 3 fits, the last validation was the best: these fits had not converged."
    assert undertuned({(VARIANT, "a"): Rates(2.0, {1.0: 0.1, 2.0: 0.2, 3.0: 0.3})}, best(0.5)) == ()


def test_a_report_shows_the_rates_and_the_fits_that_had_not_converged(content, recorded, config):
    table = next(table for table in content.results if table.key == "rates")
    assert len(table.rows) == 2 * len(config.variants)
    assert {row[3].main for row in table.rows} == {"0.0001"}
    late = int((convergence(recorded)["share"] == 1).sum())
    assert any(limit.startswith(f"In {late} of {4 * len(config.variants)} fits, the last") for limit in content.limits)
