"""The printed numbers of West et al. 2020."""
