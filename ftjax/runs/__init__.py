"""One run: prepared, started in its folder, evaluated."""
