"""A bundle, made from a finished run."""
