"""What follows the search: finalists confirmed, changes explained, sensitivity measured, the test scored."""
