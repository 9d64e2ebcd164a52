"""What a network keeps of what it could do before it was trained on."""
