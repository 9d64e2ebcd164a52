"""What a run was made from, and how it differs from another."""
