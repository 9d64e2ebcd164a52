"""Paired tests, intervals, bootstrap."""
