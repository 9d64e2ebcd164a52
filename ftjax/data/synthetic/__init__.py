"""Data that are made here: glyphs, scattered digits, docstrings."""
