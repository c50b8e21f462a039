"""What the user takes away: a trained model, and what it says of further images."""
