"""Explanations: heat maps over a picture, how well they agree with known regions, panels and contact sheets."""
