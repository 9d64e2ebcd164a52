"""What an ablation may spend."""
