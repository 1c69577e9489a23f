"""Explanations: heat maps over an image, how well they agree with known regions and with the model, panels."""
