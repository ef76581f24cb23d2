"""Other people's libraries running on these functions."""
