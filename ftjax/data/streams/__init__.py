"""Batches in their order: samplers, loaders, streams, prefetch."""
