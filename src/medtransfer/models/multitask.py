"""The multi-task network of Park et al. 2022: diagnosis from the class token, six lung zones from a severity map."""

import logging
from collections.abc import Mapping
from typing import Literal, NamedTuple, cast

import torch
from jaxtyping import Bool, Float
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from medtransfer.errors import ModelError
from medtransfer.models.classifier import NetworkConfig
from medtransfer.models.pcam import PcamHead
from medtransfer.models.structures import LeftOut, MapHead, Structure, map_shape
from medtransfer.models.tokens import TokenTransformer, TransformerConfig
from medtransfer.models.zones import CUTS, EMPTY, ZONES, Cuts, Lines, zone_maxima

LABEL, SEVERITY = "label", "zones"
"""Names of the heads: the diagnosis, and the probability of a lesion in each zone."""

log = logging.getLogger(__name__)


class MultitaskConfig(Structure):
    """A corpus backbone, a transformer on its tokens, and one head per task.

    Attributes:
        corpus: the backbone; how it was pooled in its own training does not matter here.
        side: of the images, pixels.
        transformer: its size.
        tasks: ``label``, ``zones`` or both.
        upsizing: channels of the map head's blocks but the last, which has one; every block doubles the map's side. A
            map that needs fewer doublings takes the last of them.
        lines, cuts: how the lungs are cut into zones, see ``zones.lung_zones``.
    """

    kind: Literal["multitask"] = "multitask"
    corpus: NetworkConfig = NetworkConfig(backbone="densenet121")
    side: PositiveInt = 512
    transformer: TransformerConfig = TransformerConfig()
    tasks: tuple[Literal["label", "zones"], ...] = Field(default=("label", "zones"), min_length=1)
    upsizing: tuple[PositiveInt, ...] = (256, 128, 64, 32)
    lines: Lines = "lung"
    cuts: Cuts = CUTS

    @model_validator(mode="after")
    def _average_nothing(self) -> "MultitaskConfig":
        if self.flatten_at or self.corpus.flatten_at:
            raise ModelError(f"network {self.title!r}: its heads read the map, flatten_at has no meaning; leave it out")
        if len(set(self.tasks)) < len(self.tasks):
            raise ModelError(f"network {self.title!r}: a task occurs twice in {', '.join(self.tasks)}; name each once")
        return self

    @property
    def title(self) -> str:
        """For example ``densenet121_vit12``."""
        return f"{self.corpus.title}_vit{self.transformer.layers}"

    @property
    def backbone(self) -> str:
        """The backbone's name in timm."""
        return self.corpus.backbone

    @property
    def least_outputs(self) -> int:
        """Outputs with a single class."""
        return (LABEL in self.tasks) + ZONES * (SEVERITY in self.tasks)

    def build_trunk(self) -> tuple[nn.Module, LeftOut]:
        """Return the corpus backbone."""
        return self.corpus.build_trunk()

    def build_head(self, trunk: nn.Module, outputs: int) -> MapHead:
        """Return transformer and heads.

        Raises:
            ModelError: the outputs are not those of the tasks, or the map head does not reach the images' side.
        """
        return MultitaskHead(self, map_shape(trunk, self.side), outputs)


class Encoded(NamedTuple):
    """What the heads read: features of the whole image, absent without a transformer, and of every position."""

    whole: Tensor | None
    maps: Tensor

    def rows(self, rows: slice) -> "Encoded":
        """Return some images of the batch."""
        return Encoded(None if self.whole is None else self.whole[rows], self.maps[rows])


class MultitaskHead(MapHead):
    """All of the network above its backbone; built by ``MultitaskConfig``.

    Args:
        config: sizes and tasks.
        shape: channels, rows and columns of the backbone's map.
        outputs: classes and zones together.
    """

    def __init__(self, config: MultitaskConfig, shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        channels, *grid = shape
        self.out_features, self.reads_lungs = outputs, SEVERITY in config.tasks
        self.lines, self.cuts = config.lines, config.cuts
        classes = outputs - (ZONES if self.reads_lungs else 0)
        if classes < (LABEL in config.tasks) or (classes and LABEL not in config.tasks):
            raise ModelError(
                f"network {config.title!r}: {outputs} outputs for the tasks {', '.join(config.tasks)}, expected "
                f"{config.least_outputs} {'or more' if LABEL in config.tasks else ''}; zones are {ZONES}"
            )
        deep = config.transformer.layers > 0
        self.transformer = TokenTransformer(config.transformer, channels, (grid[0], grid[1])) if deep else None
        width = config.transformer.width if deep else channels
        self.label: nn.Module | None = None
        if classes:
            self.label = nn.Linear(width, classes) if deep else PcamHead(width, classes)
        self.severity = SeverityMap(width, _widths(config, grid[0])) if self.reads_lungs else None
        self._warned = False

    def forward(
        self, maps: Float[Tensor, "batch channels rows columns"], lungs: Bool[Tensor, "batch h w"] | None = None
    ) -> Mapping[str, Tensor]:
        """Return logits by head: ``label`` ``[batch, classes]``, ``zones`` ``[batch, 6]`` (``EMPTY`` without lung)."""
        encoded = self.encode(maps)
        raw = {LABEL: self.diagnose(encoded)} if self.label else {}
        return raw | ({SEVERITY: self.grade(encoded, lungs)} if self.severity else {})

    def encode(self, maps: Float[Tensor, "batch channels rows columns"]) -> Encoded:
        """Return what all tasks share."""
        return Encoded(*self.transformer(maps)) if self.transformer else Encoded(None, maps)

    def diagnose(self, encoded: Encoded) -> Float[Tensor, "batch classes"]:
        """Return the logit of every class."""
        return cast(Tensor, cast(nn.Module, self.label)(encoded.maps if encoded.whole is None else encoded.whole))

    def grade(self, encoded: Encoded, lungs: Bool[Tensor, "batch h w"] | None) -> Float[Tensor, "batch 6"]:
        """Return the logit of a lesion in every zone: the largest of the severity map inside it.

        Without a mask the whole image counts as lung, and a warning says so once.
        """
        logits = self.severity_logits(encoded)
        if lungs is None:
            if not self._warned:
                log.warning("severity of six zones: no lung mask was given, the whole image counts as lung")
                self._warned = True
            lungs = torch.ones_like(logits, dtype=torch.bool)
        return zone_maxima(logits, lungs, empty=EMPTY, lines=self.lines, cuts=self.cuts)

    def severity_logits(self, encoded: Encoded) -> Float[Tensor, "batch h w"]:
        """Return the logit of a lesion at every pixel, before the lung mask; its sigmoid is the severity map."""
        return cast(Tensor, cast(nn.Module, self.severity)(encoded.maps))


def _widths(config: MultitaskConfig, rows: int) -> tuple[int, ...]:
    """Return the channels of all blocks but the last that bring a map to the images' side."""
    most = len(config.upsizing)
    for blocks in range(1, most + 2):
        if rows * 2**blocks == config.side:
            return config.upsizing[most + 1 - blocks :]
    raise ModelError(
        f"network {config.title!r}: {most + 1} upsizing blocks make {rows * 2 ** (most + 1)} px of a map of {rows}, "
        f"the images have {config.side}; change upsizing or side"
    )


class SeverityMap(nn.Sequential):
    """The map head: blocks that double the side by bilinear upsizing and a 3×3 convolution, to one channel (P-8).

    Args:
        channels: of the tokens' map.
        widths: channels of every block but the last, with batch norm and ReLU; the last gives logits.
    """

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        def double() -> nn.Module:
            return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)

        blocks = [
            nn.Sequential(
                double(), nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
            )
            for before, after in zip((channels, *widths), widths, strict=False)
        ]
        last = nn.Sequential(double(), nn.Conv2d(widths[-1] if widths else channels, 1, 3, padding=1))
        super().__init__(*blocks, last)

    def forward(self, maps: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch h w"]:
        """Return logits."""
        for block in self:
            maps = block(maps)
        return maps[:, 0]
