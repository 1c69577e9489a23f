"""A search as data: what a trial sets is laid over params.yaml and validated; mistakes are one line."""

from pathlib import Path

import pytest
import yaml

from medtransfer.errors import ConfigError
from medtransfer.params import parse_params
from medtransfer.tuning.config import SearchConfig
from medtransfer.tuning.space import base_of, check_space, decode, lay_over, look_up, space_hash, suggest, trial_params

TREE = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))
RATE = "attentive_transfer.finetune.train.optimizer.lr"
ALPHAS = [f"attentive_transfer.sstl_m.method.alpha{n}" for n in (1, 2)]


def search(**changes):
    plain = {
        "study": "attentive_transfer",
        "fits": [{"phase": "finetune"}],
        "space": {RATE: {"kind": "log", "low": 1e-4, "high": 1e-2}},
        "objectives": [{"metric": "val/auroc_covid"}],
        "budget": {"trials": 2},
    }
    return SearchConfig.model_validate(plain | changes)


class Fixed:
    """Stands for Optuna's trial; takes the largest value."""

    def suggest_float(self, key, low, high, log=False):
        return high

    def suggest_int(self, key, low, high, step=1):
        return high

    def suggest_categorical(self, key, choices):
        return choices[-1]


@pytest.mark.parametrize("name", TREE["tuning"])
def test_the_shipped_searches_are_valid(name):
    check_space(name, TREE, parse_params(TREE).search(name))


def test_a_trial_is_a_validated_overlay_with_one_seed():
    params = trial_params(TREE, search(), {RATE: 0.004}, 7)
    assert params.attentive_transfer.finetune.train.optimizer.lr == 0.004
    assert (params.attentive_transfer.seeds, params.attentive_transfer.pretrain_seeds) == ((7,), (7,))
    assert look_up(TREE, RATE) == 0.0015


def test_a_trial_cannot_set_what_a_user_cannot():
    with pytest.raises(ConfigError, match="a number above 0"):
        trial_params(TREE, search(), {RATE: -1.0}, 0)


def test_a_name_with_dots_is_one_part():
    tree = {"start": {"net_to_blocks.2": {"kind": "file"}}}
    laid = lay_over(tree, {"start.net_to_blocks.2.kind": "train"})
    assert laid == {"start": {"net_to_blocks.2": {"kind": "train"}}}


def test_a_key_is_set_under_its_condition_alone():
    name, patience = "truncated_transfer.train.schedule.name", "truncated_transfer.train.schedule.patience"
    space = {
        name: {"kind": "choice", "choices": ["constant", "plateau"]},
        patience: {"kind": "int", "low": 2, "high": 6, "when": {name: ["plateau"]}},
    }
    assert suggest(Fixed(), search(space=space).space) == {name: "plateau", patience: 6}
    space[name]["choices"].reverse()
    assert suggest(Fixed(), search(space=space).space) == {name: "constant"}


def test_choices_of_any_type_survive_the_storage():
    key = "truncated_transfer.variants"
    one = search(space={key: {"kind": "choice", "choices": [["a"], ["b", "c"], None, 1.5]}})
    assert decode(one.space, {key: '["b", "c"]'}) == {key: ["b", "c"]}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"space": {f"{RATE}x": {"kind": "float", "low": 1, "high": 2}}}, "lrx.*unknown key; did you mean lr"),
        ({"space": {"nothing.here": {"kind": "float", "low": 1, "high": 2}}}, "nothing.here.*unknown key"),
        ({"space": {RATE: {"kind": "float", "low": -1, "high": 1}}}, r"lr: -1.0 is never valid .*a number above 0"),
        ({"space": {f"{RATE}.deep": {"kind": "float", "low": 1, "high": 2}}}, "deep: 1.0 is never valid .*no mapping"),
        ({"fixed": {"attentive_transfer.seed": 1}}, "fixed: .*unknown key"),
        (
            {"space": {key: {"kind": "choice", "choices": [0, 0.0]} for key in ALPHAS}},
            "no trial can satisfy it .*alpha1 and alpha2 are both 0",
        ),
    ],
)
def test_a_space_that_cannot_be_is_refused_with_the_key(changes, line):
    with pytest.raises(ConfigError, match=line) as error:
        check_space("mine", TREE, search(**changes))
    assert str(error.value).startswith("tuning.mine.")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"space": {RATE: {"kind": "log", "low": 0, "high": 1}}}, "above 0"),
        ({"space": {RATE: {"kind": "float", "low": 2, "high": 1}}}, "not below"),
        ({"space": {RATE: {"kind": "float", "low": 1}}}, "needs low and high"),
        ({"space": {RATE: {"kind": "choice", "choices": [1]}}}, "at least two"),
        ({"space": {RATE: {"kind": "int", "low": 1, "high": 2, "when": {"b": [1]}}}}, "no earlier key"),
        ({"space": {RATE: {"kind": "logg", "low": 1, "high": 2}}}, "'float', 'log', 'int' or 'choice'"),
        ({"objectives": [{"metric": "test/auroc_covid"}]}, "val/"),
        ({"objectives": [{"cost": "multiply_adds", "direction": "minimize"}]}, "first objective is a metric"),
        ({"pruning": {"phase": "stl_m", "metric": "val/auroc"}}, "no fit of the search is of phase"),
        ({"fixed": {RATE: 1}}, "in space and in fixed"),
    ],
)
def test_a_mistake_in_a_search_is_one_line_of_params(changes, line):
    plain = search().model_dump(mode="json") | changes
    with pytest.raises(ConfigError, match=line) as error:
        parse_params(TREE | {"tuning": {"mine": plain}})
    assert str(error.value).startswith("params.yaml: tuning.mine")
    assert "\n" not in str(error.value)


def test_the_hash_knows_space_base_and_data_but_not_budget_or_searched_values():
    def hashed(one, tree=TREE, data="d"):
        return space_hash(one, base_of(tree, one), {"ct": data})

    plain = hashed(search())
    assert hashed(search(budget={"trials": 50})) == plain
    assert hashed(search(), lay_over(TREE, {RATE: 0.1, "attentive_transfer.seeds": [4]})) == plain
    assert hashed(search(space={RATE: {"kind": "log", "low": 1e-4, "high": 1e-1}})) != plain
    assert hashed(search(), lay_over(TREE, {"attentive_transfer.finetune.train.epochs": 9})) != plain
    assert hashed(search(), data="other") != plain
