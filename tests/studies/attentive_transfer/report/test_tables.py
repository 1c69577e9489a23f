import pytest

from medtransfer.studies.attentive_transfer.paper.values import TABLES
from medtransfer.studies.attentive_transfer.report.comparisons import attention_against_convolution
from medtransfer.studies.attentive_transfer.report.results import attention_change, estimates, measure
from medtransfer.studies.attentive_transfer.report.tables import comparison_table, grid_table, paper_frame, paper_table

FULL = "stl_n-stl_m-sstl_m"
TABLE = {table.number: table for table in TABLES}


@pytest.fixture(scope="module")
def grid(predictions, settings):
    return measure(predictions, settings)


@pytest.fixture(scope="module")
def inactive(predictions, settings):
    return attention_change(predictions, settings)


def row(frame, network, chain, metric="auroc"):
    return frame.query("network == @network and chain == @chain and metric == @metric").iloc[0]


def test_table_4_compares_to_no_transfer_and_table_2_to_the_plain_network(grid, settings):
    four = row(paper_frame(TABLE[4], grid, settings), "resnet50_attn5", FULL)
    two = row(paper_frame(TABLE[2], grid, settings), "resnet50_attn5", FULL)
    auroc = {cell: measured.samples["auroc"].points.mean() for cell, measured in grid["ct"].items()}
    assert four["mean_gain"] == pytest.approx(auroc["resnet50_attn5", FULL] - auroc["resnet50_attn5", "none"])
    assert two["mean_gain"] == pytest.approx(auroc["resnet50_attn5", FULL] - auroc["resnet50_attn0", FULL])
    assert (four["paper"], four["paper_gain"], two["paper_gain"]) == (0.968, 0.099, 0.065)


def test_a_network_that_the_paper_does_not_have_is_not_available(predictions, settings, inactive):
    names = {"resnet50_attn0": "tiny_attn0", "resnet50_attn5": "tiny_attn5"}
    other = settings.model_copy(update={"networks": tuple(names.values()), "draws": 20})
    grid = measure(predictions.replace({"network": names}), other)
    frame = paper_frame(TABLE[5], grid, other)
    assert frame["paper"].isna().all()
    shown = paper_table(TABLE[5], frame, inactive, {})
    assert {line[2].main for line in shown.rows} == {"n/a"}


def test_a_chain_that_was_not_run_leaves_a_dash_beside_the_papers_value(predictions, settings, inactive):
    grid = measure(predictions[predictions["chain"] != FULL], settings)
    shown = paper_table(TABLE[2], paper_frame(TABLE[2], grid, settings), inactive, {})
    assert [cell.main for cell in shown.rows[1][1:4]] == ["0.939", "—", "—"]


def test_a_misprint_of_the_paper_is_starred_where_it_stands(predictions, settings, inactive):
    names = {"resnet50_attn5": "resnet50_attn1"}
    other = settings.model_copy(update={"networks": ("resnet50_attn0", "resnet50_attn1"), "draws": 20})
    grid = measure(predictions.replace({"network": names}), other)
    shown = paper_table(TABLE[5], paper_frame(TABLE[5], grid, other), inactive, {})
    starred = [cell.detail for line in shown.rows for cell in line if cell.detail.endswith("*")]
    assert starred == ["gain +0.066*"]
    assert "prints a gain of 0.066; its printed values give 0.064" in " ".join(shown.notes)


def test_tables_with_sound_arithmetic_have_no_footnote(grid, settings, inactive):
    assert not paper_table(TABLE[4], paper_frame(TABLE[4], grid, settings), inactive, {}).notes


def test_inactive_attention_is_marked_in_its_row_alone(grid, settings, inactive):
    shown = grid_table(grid, settings, inactive)
    marked = [(line[0].main, line[1].main) for line in shown.rows if line[0].detail == "attention inactive"]
    assert marked == [("resnet50 + 5 ATTN", "no transfer")]


def test_attention_that_nobody_switched_off_is_said_to_be_unchecked(grid, settings, inactive):
    shown = grid_table(grid, settings, inactive.iloc[:0])
    assert [line[0].detail for line in shown.rows] == [""] * 5 + ["attention not checked"] * 5


def test_a_network_that_was_not_run_is_not_called_unchecked(predictions, settings, inactive):
    part = predictions[predictions["chain"] != FULL]
    grid = measure(part, settings.model_copy(update={"draws": 20}))
    checked = inactive[inactive["chain"] != FULL]
    shown = [
        grid_table(grid, settings, checked),
        paper_table(TABLE[4], paper_frame(TABLE[4], grid, settings), checked, {}),
    ]
    absent = [line for table in shown for line in table.rows if line[1].main == "STL-N → STL-M → SSTL-M"]
    assert [line[0].detail for line in absent] == [""] * 4
    assert {line[2].main for line in absent[:2]} == {"—"}


def test_the_grid_has_a_column_for_each_outside_set(grid, settings, inactive):
    shown = grid_table(grid, settings, inactive)
    assert [(column.group, column.name) for column in shown.columns[2:]] == [
        ("AUROC, own test set", "ct"),
        ("AUROC, own test set", "gain"),
        ("AUROC, outside sets", "far"),
    ]


def test_table_3_takes_methods_that_the_paper_has_not_and_compares_to_the_papers_own(predictions, settings, inactive):
    renamed = predictions.replace({"chain": {"stl_n-stl_m": "stl_n-stl_m-moco", "stl_n": "stl_n-stl_m-region_scale"}})
    chains = ("none", "stl_n-stl_m-moco", "stl_n-stl_m-region_scale", FULL)
    other = settings.model_copy(update={"chains": chains, "draws": 20})
    grid = measure(renamed, other)
    frame = paper_frame(TABLE[3], grid, other)
    assert list(frame.query("network == 'resnet50_attn0'")["chain"].unique()) == [
        "stl_n-stl_m-moco",
        "stl_n-stl_m-simclr",
        FULL,
        "stl_n-stl_m-region_scale",
    ]
    moco = row(frame, "resnet50_attn0", "stl_n-stl_m-moco")
    auroc = {cell: measured.samples["auroc"].points.mean() for cell, measured in grid["ct"].items()}
    assert moco["mean_gain"] == pytest.approx(
        auroc["resnet50_attn0", "stl_n-stl_m-moco"] - auroc["resnet50_attn0", FULL]
    )
    assert moco["paper"] == 0.9
    shown = paper_table(TABLE[3], frame, inactive, {})
    assert [line[1].main for line in shown.rows[:4]] == [
        "STL-N → STL-M → MoCo",
        "STL-N → STL-M → SimCLR",
        "STL-N → STL-M → SSTL-M",
        "STL-N → STL-M → regions alone",
    ]


def test_every_table_has_a_column_for_each_outside_set(grid, settings, inactive):
    far = estimates(grid, settings).query("metric == 'auroc' and dataset == 'far'")
    shown = paper_table(TABLE[4], paper_frame(TABLE[4], grid, settings), inactive, {"far": far})
    assert (shown.columns[-1].name, shown.columns[-1].group) == ("far", "AUROC, outside sets")
    mean = grid["far"]["resnet50_attn0", "none"].samples["auroc"].points.mean()
    assert shown.rows[0][-1].main.startswith(f"{mean:.3f}")


def test_a_comparison_is_repeated_on_each_outside_set_and_a_dash_where_it_was_not_measured(grid, settings, inactive):
    compared = {
        name: attention_against_convolution(cells, settings.networks, settings.chains) for name, cells in grid.items()
    }
    shown = comparison_table(compared, inactive)
    far = compared["far"].set_index("chain")["difference"]
    assert shown.columns[-1].name == "far"
    values = [float(line[-1].main.replace("−", "-")) for line in shown.rows]
    assert values == pytest.approx(list(far[list(settings.chains)]), abs=6e-4)
    part = comparison_table(compared | {"far": compared["far"].iloc[1:]}, inactive)
    assert part.rows[0][-1].main == "—"
