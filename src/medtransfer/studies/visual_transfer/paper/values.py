"""Table 1 of West et al. 2020: validation AUC and training length of each column."""

from functools import cache
from pathlib import Path

import pandas as pd

PAPER = Path(__file__).parent
TITLES = {
    "benchmark_no_augmentation": "Benchmark (no augmentation)",
    "benchmark_cnn": "Benchmark CNN",
    "vgg16_imagenet": "VGG16 (ImageNet)",
    "densenet121_chexnet": "Dense121 (CheXNet)",
    "chexnet_all_layers": "CheXNet (all layers)",
}
"""Columns of the table, as they are printed."""


@cache
def table1() -> dict[tuple[str, str], float]:
    """Return the numbers by column and ``auc, batch_size, epochs, steps_per_epoch``; what is not printed is absent."""
    table = pd.read_csv(PAPER / "west_table1.csv").dropna(subset=["value"])
    return {(row.model, row.metric): float(row.value) for row in table.itertuples()}
