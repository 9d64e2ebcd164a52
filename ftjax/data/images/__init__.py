"""Images: decoding, augmentation, corruption."""
