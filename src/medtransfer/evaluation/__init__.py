"""Metrics, intervals, paired tests, thresholds and score cards: everything computed from predictions, without torch."""
