"""Deterministic synthetic anatomy with truth that no public set has: lesions, lobes, zones and planted shortcuts."""
