"""Inputs without labels, read one after the other: what a trained network is asked about."""
