"""Explanations: heat maps over an image, how well they agree with known regions, panels and contact sheets."""
