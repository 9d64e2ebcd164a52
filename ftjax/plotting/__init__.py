"""Figures to files, whichever room drew them."""
