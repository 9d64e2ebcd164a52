"""Two bundles compared: data, config, metrics, and the answers that changed."""
