import json
import math
from pathlib import Path

import pytest
import torch

from medtransfer.losses.contrastive import info_nce, nt_xent
from medtransfer.ssl.base import unit

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "infonce.json").read_text())


def units(seed, *shape):
    return unit(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def golden(name):
    return torch.tensor(GOLDEN[name], dtype=torch.float64)


def literal_info_nce(query, key, queue, temperature, own):
    total = 0.0
    for i, q in enumerate(query):
        positive = math.exp(float(q @ key[i]) / temperature)
        negatives = [math.exp(float(q @ k) / temperature) for j, k in enumerate(queue) if not own[i, j]]
        total -= math.log(positive / (positive + sum(negatives)))
    return total / len(query)


def literal_nt_xent(z, temperature):
    total = 0.0
    for i in range(len(z)):
        others = {k: math.exp(float(z[i] @ z[k]) / temperature) for k in range(len(z)) if k != i}
        total -= math.log(others[i ^ 1] / sum(others.values()))
    return total / len(z)


def test_info_nce_gives_the_golden_value_with_the_temperature_in_every_term():
    value = info_nce(golden("q")[None], golden("k_pos")[None], golden("k_neg"), temperature=GOLDEN["tau"])
    assert float(value) == pytest.approx(GOLDEN["loss_tau_everywhere"], abs=1e-9)


def test_the_equation_as_printed_is_another_loss():
    q, positive, negatives = golden("q"), golden("k_pos"), golden("k_neg")
    with_t = math.exp(float(q @ positive) / GOLDEN["tau"])
    printed = -math.log(with_t / (with_t + float((negatives @ q).exp().sum())))
    assert printed == pytest.approx(GOLDEN["loss_as_printed"], abs=1e-9)
    ours = info_nce(q[None], positive[None], negatives, temperature=GOLDEN["tau"])
    assert float(ours) - printed == pytest.approx(2.643129158485285, abs=1e-9)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
@pytest.mark.parametrize(("batch", "entries", "dim"), [(1, 1, 2), (3, 5, 4), (6, 2, 16)])
def test_info_nce_equals_the_literal_sum(temperature, batch, entries, dim):
    query, key, queue = units(1, batch, dim), units(2, batch, dim), units(3, entries, dim)
    own = torch.rand(batch, entries, generator=torch.Generator().manual_seed(4)) < 0.3
    value = info_nce(query, key, queue, temperature=temperature, own=own)
    assert float(value) == pytest.approx(literal_info_nce(query, key, queue, temperature, own), abs=1e-12)


def test_a_masked_entry_changes_neither_value_nor_gradient():
    query, key, queue = units(1, 2, 4).requires_grad_(), units(2, 2, 4), units(3, 3, 4)
    own = torch.tensor([[False, True, False], [False, True, False]])
    masked = torch.autograd.grad(info_nce(query, key, queue, temperature=0.1, own=own), query)[0]
    shorter = torch.autograd.grad(info_nce(query, key, queue[[0, 2]], temperature=0.1), query)[0]
    torch.testing.assert_close(masked, shorter)


def test_a_queue_without_any_negative_gives_zero_loss_and_no_gradient():
    query, key, queue = units(1, 2, 4).requires_grad_(), units(2, 2, 4), units(3, 3, 4)
    loss = info_nce(query, key, queue, temperature=0.1, own=torch.ones(2, 3, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert float(query.grad.abs().max()) == 0.0


def test_logits_stay_in_single_precision_under_autocast():
    query, key, queue = (units(seed, 4, 64).float() for seed in (1, 2, 3))
    plain = info_nce(query, key, queue, temperature=0.07)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = info_nce(query, key, queue, temperature=0.07)
    assert mixed.dtype == torch.float32
    assert float(mixed) == float(plain)


def test_nt_xent_gives_the_golden_value():
    z = torch.tensor(GOLDEN["nt_xent"]["z_interleaved"], dtype=torch.float64)
    assert float(nt_xent(z, GOLDEN["nt_xent"]["tau"])) == pytest.approx(
        GOLDEN["nt_xent"]["loss_mean_over_2N"], abs=1e-9
    )


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("pairs", [1, 2, 5])
def test_nt_xent_equals_the_literal_sum(temperature, pairs):
    z = units(7, 2 * pairs, 8)
    assert float(nt_xent(z, temperature)) == pytest.approx(literal_nt_xent(z, temperature), abs=1e-12)
