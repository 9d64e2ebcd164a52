"""Numbers and errors of tasks whose answers are classes."""
