"""A run: what it was made from, and what its folder holds."""
