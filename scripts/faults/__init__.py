"""What scripts/reliability.py does to runs: it interrupts them, damages them, takes their disk."""
