"""Claims of a reproduction, each passed or failed."""
