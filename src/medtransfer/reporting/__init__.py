"""Turns a study's predictions table and records into tables, figures and one self-contained page."""
