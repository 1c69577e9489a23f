"""Losses as pure functions of tensors, each with the equation it computes."""
