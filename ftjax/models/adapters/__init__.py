"""Parameters added to a network by intercepting its modules, without editing its file."""
