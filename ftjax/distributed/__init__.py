"""Mesh and sharding, processes, preemption."""
