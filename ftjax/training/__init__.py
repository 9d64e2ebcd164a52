"""The training loop: step, loop, checkpoints, feature cache, cost, sweeps."""
