"""The numbers in the text of Park et al. 2022; the cells of its tables are not available."""

from functools import cache
from pathlib import Path

import pandas as pd

PAPER = Path(__file__).parent
HOSPITALS = ("CNUH", "YNU", "KNUH")
"""The paper's external test sets."""
DIAGNOSIS, SEVERITY = "classification_mtl_mean_of_3_labels", "severity_mtl"
PREVALENCE = "prevalence_simulation"
WORST = ("severity_related_work_worst", "unnamed model and column")


@cache
def printed() -> dict[tuple[str, str, str], float]:
    """Return the numbers by (task, data set, metric); values as printed, with ``_pct`` in per cent."""
    table = pd.read_csv(PAPER / "park_results_from_text.csv")
    return {(row.task, row.dataset, row.metric): float(row.value) for row in table.itertuples()}
