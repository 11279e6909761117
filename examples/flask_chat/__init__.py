"""A chat on Flask."""
