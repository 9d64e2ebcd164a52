"""A trained run, opened again, and its answers to new inputs."""
