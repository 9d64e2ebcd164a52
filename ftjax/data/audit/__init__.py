"""A look at the splits before training: how large they are, and what they share."""
