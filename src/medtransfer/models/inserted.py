"""What ATTN layers and their control share: a residual layer behind a block of a trunk, gated by its batch norm."""

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn


class InsertedLayer(nn.Module):
    """``z = BN(branch(x)) + x``; the weight γ of the batch norm starts at ``gamma``, 0 makes a new layer the identity.

    A subclass makes its convolutions, calls ``close`` and defines ``branch``. There is no ReLU after the sum.
    """

    norm: nn.BatchNorm2d

    def __init__(self) -> None:
        super().__init__()
        self.active = True

    def close(self, channels: int, gamma: float) -> None:
        """Add the batch norm and draw the weights: convolutions from N(0, 0.01²), biases 0, γ as given."""
        self.norm = nn.BatchNorm2d(channels)
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and not name.startswith("norm"):
                nn.init.normal_(parameter, std=0.01)
            else:
                nn.init.zeros_(parameter)
        nn.init.constant_(self.norm.weight, gamma)

    def branch(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Return what the layer adds to a map, before the batch norm."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Return the map plus the normalised branch; the map itself while ``active`` is off."""
        if not self.active:
            return x
        # x comes first: the sum keeps its memory format, and convolutions after a new layer stay the same bit for bit
        return x + cast(Tensor, self.norm(self.branch(x)))

    @property
    def gamma_abs(self) -> float:
        """Mean absolute weight of the batch norm: 0 while the layer is still the identity."""
        return float(self.norm.weight.detach().abs().mean())


class ConvolutionLayer(InsertedLayer):
    """The control of an ATTN layer: ``z = BN(W₂ relu(W₁ x)) + x`` with 1 × 1 convolutions, each position by itself.

    Args:
        channels: channels of the map that comes in and goes out.
        width: channels between the convolutions; see ``control_width``.
        gamma: start of γ.
    """

    def __init__(self, channels: int, *, width: int, gamma: float = 0.0) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, width, 1)
        self.project = nn.Conv2d(width, channels, 1)
        self.close(channels, gamma)

    def branch(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Return the output of the two convolutions."""
        return cast(Tensor, self.project(self.expand(x).relu()))


def control_width(channels: int, width: int) -> int:
    """Return the width at which the control has as many parameters as an ATTN layer of ``width``: twice that.

    With C channels an ATTN layer of width w has w(4C + 3) + 3C parameters and a control of width h has h(2C + 1) + 3C.
    At h = 2w they differ by w, less than one part in 4C.
    """
    return round(width * (4 * channels + 3) / (2 * channels + 1))
