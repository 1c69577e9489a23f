"""Explanations: heat maps over a picture, how well they agree with known regions, and the panels that show them."""
