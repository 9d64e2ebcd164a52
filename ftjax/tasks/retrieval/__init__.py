"""Losses and metrics of vectors that are compared."""
