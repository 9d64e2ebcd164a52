"""The learning rate of each arm: grid, search, choice."""
