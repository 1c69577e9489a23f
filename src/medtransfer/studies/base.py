"""What every study tells the stages about its fitted networks."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One fit whose network is predicted, scored and reported.

    Attributes:
        variant: name of the cell in the predictions table; a variant and a seed are one fit.
        network: see variant.
        chain: what the network went through.
        seed: see variant.
        folder: holds ``weights/seed<N>`` and ``records/seed<N>``.
        dataset: the data set that the fit was trained and validated on.
        negatives: negatives to one positive that its test rows are weighted to; None leaves them as they are.
    """

    variant: str
    network: str
    chain: str
    seed: int
    folder: Path
    dataset: str
    negatives: float | None = None

    @property
    def weights(self) -> Path:
        """Folder with model.safetensors and config.json."""
        return self.folder / "weights" / f"seed{self.seed}"

    @property
    def records(self) -> Path:
        """Folder of the tracked run."""
        return self.folder / "records" / f"seed{self.seed}"
