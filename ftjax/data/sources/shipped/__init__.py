"""Data that need no file: drawn on the spot, or shipped with a library."""
