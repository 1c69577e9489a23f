"""Data: the manifest, packed arrays, splits, sources and phantoms."""
