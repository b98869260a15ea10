"""Evaluation: running checks over an answer, at once, later, or again over what is on record."""
