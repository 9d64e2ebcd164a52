"""Where weights are: folders, runs, the hub."""
