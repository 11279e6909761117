"""A chat on Django."""
