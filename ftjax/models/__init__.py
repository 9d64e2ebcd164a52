"""Networks as sequences of named stages."""
