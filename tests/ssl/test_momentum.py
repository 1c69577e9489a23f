import copy

import pytest
import torch

from medtransfer.ssl.momentum import update_momentum_


@pytest.mark.parametrize("m", [0.0, 0.5, 0.999, 1.0])
def test_parameters_follow_the_equation_and_buffers_do_not(encoder, m):
    key = copy.deepcopy(encoder).requires_grad_(False)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter))
    encoder.net[1].running_mean.fill_(5.0)
    expected = [m * k + (1 - m) * q for k, q in zip(key.parameters(), encoder.parameters(), strict=True)]
    before = [q.clone() for q in encoder.parameters()]
    update_momentum_(key, encoder, m)
    torch.testing.assert_close(list(key.parameters()), expected)
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))
    assert float(key.net[1].running_mean.abs().max()) == 0.0
