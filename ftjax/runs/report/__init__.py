"""The report of one run: what is kept for it, what it says, how it is drawn."""
