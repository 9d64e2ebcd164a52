"""Masks: a class for each pixel of an image, in memory or in files."""
