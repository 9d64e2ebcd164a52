"""Which examples stand in which split, with groups and strata."""
