"""Families of image networks."""
