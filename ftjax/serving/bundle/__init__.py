"""A bundle, read: manifest, signature, programs, goldens. It imports neither flax nor optax."""
