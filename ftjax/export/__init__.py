"""What leaves ftjax: weights for PyTorch's users, with the card that says how they came to be."""
