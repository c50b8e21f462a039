"""What may be searched, and what one choice means."""
