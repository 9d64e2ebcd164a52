"""Freezing strategies, one idea a file."""
