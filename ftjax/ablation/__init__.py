"""Ablations: arms, rates, seeds, and what may be concluded."""
