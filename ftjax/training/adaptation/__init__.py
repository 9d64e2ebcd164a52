"""Adapting a trained network to unlabelled inputs of the data that it is for."""
