"""The report of a study with one network, one chain or one seed: no row for what was not run, and an answer."""

from dataclasses import replace

import pytest

from medtransfer.studies.attentive_transfer.report import build

SMALL = {
    "one plain network": (("resnet50_attn0",), ("none", "stl_n", "stl_n-stl_m-sstl_m"), (0, 1)),
    "one attentive network": (("resnet50_attn5",), ("none", "stl_n"), (0, 1)),
    "one chain": (("resnet50_attn0", "resnet50_attn5"), ("none",), (0, 1)),
    "one seed": (("resnet50_attn0", "resnet50_attn5"), ("none", "stl_n-stl_m-sstl_m"), (0,)),
    "one of each": (("resnet50_attn0",), ("none",), (0,)),
}


@pytest.fixture(params=SMALL.values(), ids=SMALL)
def small(request, report_input):
    networks, chains, seeds = request.param
    rows = report_input.predictions
    own = rows["variant"].isin(networks) & rows["condition"].isin(chains) & rows["seed"].isin(seeds)
    config = report_input.config.model_copy(update={"networks": networks, "chains": chains, "seeds": seeds})
    return replace(report_input, predictions=rows[own], config=config, champions=[]), networks, chains


def test_what_was_not_run_has_no_row_and_the_answer_has_a_number(small):
    data, networks, chains = small
    content = build(data)
    for table in content.results:
        if table is not None and table.key in ("table2", "table3", "table4", "table5"):
            assert table.rows
            ours = [n for n, column in enumerate(table.columns) if column.name == "ours"]
            assert not [row for row in table.rows if all(row[n].main == "—" for n in ours)]
    answer = " ".join(content.headline)
    assert any(character.isdigit() for character in answer)
    if len(networks) == len(chains) == 1:
        assert content.headline[-1].startswith("AUROC on the test images: ")
