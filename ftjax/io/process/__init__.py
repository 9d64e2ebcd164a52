"""The process and its machine: progress, memory, provenance."""
