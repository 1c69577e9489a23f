"""The report of a study with one network, one setting or one seed: no row for what was not run, and an answer."""

import pytest

WHOLE, RANDOM, CUT, SLIM = (
    "densenet121-transfer",
    "densenet121-random",
    "densenet121_t1-transfer",
    "densenet121_s1-transfusion",
)
SMALL = {
    "one network with transfer": ((WHOLE,), ("all", "tenth"), (0, 1)),
    "one network from scratch": ((RANDOM,), ("all", "tenth"), (0, 1)),
    "one cut": ((CUT,), ("all",), (0, 1)),
    "one transfusion": ((SLIM,), ("all",), (0, 1)),
    "one setting": ((WHOLE, RANDOM, CUT), ("all",), (0, 1)),
    "one seed": ((WHOLE, RANDOM, CUT), ("all", "tenth"), (0,)),
    "one of each": ((WHOLE,), ("all",), (0,)),
}


@pytest.fixture(params=SMALL.values(), ids=SMALL)
def small(request, make_config, predictions, build):
    variants, regimes, seeds = request.param
    config = make_config(
        variants=variants, seeds=seeds, regimes={k: v for k, v in make_config().regimes.items() if k in regimes}
    )
    names = {condition.name for condition in config.conditions()}
    own = predictions["variant"].isin(variants) & predictions["condition"].isin(names) & predictions["seed"].isin(seeds)
    return build(config=config, predictions=predictions[own]), variants, regimes, seeds


def test_what_was_not_run_has_no_row_and_the_answer_has_a_number(small):
    content, variants, regimes, _ = small
    for table in content.results:
        assert table.rows, table.key
    tables = {table.key: table for table in content.results}
    assert len(tables["networks"].rows) == len(variants)
    dashes = [row for row in tables["networks"].rows if {cell.main for cell in row[3:]} == {"—"}]
    assert not dashes
    assert ("transfer" in tables) == ({WHOLE, RANDOM} <= {*variants})
    assert ("cuts" in tables) == ({WHOLE, CUT} <= {*variants})
    assert ("ties" in tables) == (len(variants) > 1)
    assert any(character.isdigit() for character in " ".join(content.headline))
    if len(variants) == 1:
        number = tables["networks"].rows[0][3].main
        assert content.headline[-1].startswith("AUROC on the test images: ")
        assert content.headline[-1].count("ct · ") == len(regimes)
        assert f"ct · all · tuned: {number} [" in content.headline[-1]


def test_fits_of_another_number_of_seeds_are_not_counted(small):
    content, *_, seeds = small
    (column,) = (table for table in content.results if table.key == "rates")
    assert all(f"of {len(seeds)} fit" in row[-1].main or len(seeds) == 1 for row in column.rows)
    assert all(row[-2].main.count("%") == len(seeds) for row in column.rows)
