"""Where data come from: one reader a kind of source, found by the prefix of `data.source`."""
