"""The cells of an ablation, and the rows that they leave."""
