"""What a server keeps of its traffic, and whether that still looks like the reference."""
