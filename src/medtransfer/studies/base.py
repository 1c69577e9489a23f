"""What every study tells the stages about its fitted networks."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One fit whose network is predicted, scored and reported.

    Attributes:
        variant: with ``condition`` and ``seed`` what names the fit.
        condition: see variant.
        network: its network.
        seed: see variant.
        folder: holds ``weights/seed<N>`` and ``records/seed<N>``.
        dataset: the data set that the fit was trained and validated on.
        neg_pos_ratio: negatives to one positive that its test rows are weighted to; None leaves them as they are.
    """

    variant: str
    condition: str
    network: str
    seed: int
    folder: Path
    dataset: str
    neg_pos_ratio: float | None = None

    @property
    def weights(self) -> Path:
        """Folder with model.safetensors and config.json."""
        return self.folder / "weights" / f"seed{self.seed}"

    @property
    def records(self) -> Path:
        """Folder of the tracked run."""
        return self.folder / "records" / f"seed{self.seed}"
