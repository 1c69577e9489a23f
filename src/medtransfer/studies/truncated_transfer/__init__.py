"""Truncated transfer learning for chest X-rays and CT (Peng et al. 2021)."""
