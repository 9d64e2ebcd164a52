"""A look at the data before training: copies, labels, files, groups, shifts between splits."""
