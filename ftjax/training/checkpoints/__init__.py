"""Checkpoints of a run: written, hashed, compared with the plan, read again."""
