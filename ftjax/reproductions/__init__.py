"""What only the reproductions of published results use."""
