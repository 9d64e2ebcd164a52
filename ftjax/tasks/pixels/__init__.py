"""Counts of pixels, their metrics and errors."""
