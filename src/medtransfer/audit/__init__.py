"""Audit of shortcuts: does the data offer one, and does the model use it; two verdicts that are kept apart."""
