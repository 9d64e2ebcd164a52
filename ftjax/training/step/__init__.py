"""The train step: forward pass, loss, gradient, update."""
