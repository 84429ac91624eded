"""nns: Neural Network Search."""
