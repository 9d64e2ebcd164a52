"""From rows to the numbers of each arm."""
