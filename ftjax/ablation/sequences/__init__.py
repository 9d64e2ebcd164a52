"""Ablations in which one network learns several tasks, one after the other."""
