"""Versions of bundles: published, promoted, rolled back, compared. Neither flax nor optax."""
