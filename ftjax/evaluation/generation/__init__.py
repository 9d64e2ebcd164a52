"""Texts that a causal language model writes, and how far they are those that were wanted."""
