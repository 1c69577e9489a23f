"""The grid of the truncated study: Optuna's sampler proposes exactly the configured values, in their order."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from medtransfer.tuning.grid import grid

RATES = st.lists(st.floats(1e-8, 10), min_size=1, max_size=6, unique=True)


@given(RATES)
def test_the_rates_are_bit_equal_and_in_order(rates):
    proposed = [point["lr"] for point in grid({"lr": rates})]
    assert [struct.pack("d", rate) for rate in proposed] == [struct.pack("d", rate) for rate in rates]


def test_of_two_names_the_last_is_fastest():
    assert grid({"a": [2.0, 1.0], "b": [0.1, 0.3]}) == [
        {"a": 2.0, "b": 0.1}, {"a": 2.0, "b": 0.3}, {"a": 1.0, "b": 0.1}, {"a": 1.0, "b": 0.3},
    ]  # fmt: skip


def test_the_sampler_is_optunas(monkeypatch):
    import optuna

    asked = []
    sample = optuna.samplers.GridSampler.sample_independent
    monkeypatch.setattr(
        optuna.samplers.GridSampler,
        "sample_independent",
        lambda self, *a, **k: asked.append(a) or sample(self, *a, **k),
    )
    grid({"lr": [0.1, 0.2, 0.3]})
    assert len(asked) == 3
