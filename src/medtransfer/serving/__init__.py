"""A model behind HTTP: a page, JSON replies, limits and metrics. It knows no network: a function answers."""
