"""A deployed network trained on with new data: compared on old and new, published, not promoted."""
