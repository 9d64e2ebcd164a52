"""Pretrained weights, in and out: find a checkpoint, load it strictly, write it back."""
