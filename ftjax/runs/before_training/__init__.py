"""What is asked before a run: the audit of its data, a range test of rates, its memory."""
