"""Maester: the reliability layer for AI requests."""
