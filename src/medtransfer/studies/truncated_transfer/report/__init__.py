"""The report of the truncated-transfer study (Peng et al. 2021)."""
