"""Texts as token batches."""
