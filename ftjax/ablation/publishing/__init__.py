"""Copies of an ablation's folder at a URL: made while it runs, read by those who go on."""
