"""Outputs of the frozen stages, computed once and stored."""
