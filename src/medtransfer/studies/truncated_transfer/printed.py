"""The numbers that Peng et al. 2021 state in their text, and the sizes of their networks, as data.

The results are bars in figures; no table holds them. Only what the text states is here, typed into ``paper/``.
"""

from functools import cache
from pathlib import Path

import pandas as pd

PAPER = Path(__file__).parent / "paper"


@cache
def stated() -> pd.DataFrame:
    """Return the numbers of the text: columns ``group, item, value``; ratios are negatives to one positive."""
    return pd.read_csv(PAPER / "peng_text_numbers.csv")
