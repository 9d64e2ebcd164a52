"""JSON and JSON lines, read within limits."""
