"""What changes a trained model: pruning, low rank, rounding while it is trained on."""
