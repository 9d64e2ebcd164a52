"""Families of causal language models: decoders of text."""
