"""How good a trained run is, on its own and on other data, and how fast it answers."""
