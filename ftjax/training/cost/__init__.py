"""FLOPs, optimizer bytes and memory of a step, before it runs."""
