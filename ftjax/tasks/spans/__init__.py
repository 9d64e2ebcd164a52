"""Spans of words, their metrics, and errors of tokens."""
