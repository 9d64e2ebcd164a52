"""The optimizer of a plan: its groups, its state over phases, its schedules."""
