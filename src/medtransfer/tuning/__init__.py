"""Searches over the parameters: trials as validated overlays, run by worker processes, read as results."""
