"""From names and layouts of other libraries to ours."""
