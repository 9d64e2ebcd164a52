"""Several runs in one program, and averages of their weights."""
