"""What every script shares: launch, flags, overrides of a config."""
