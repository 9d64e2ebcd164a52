"""What a loss finds in its batches beside inputs and labels, made before the run."""
