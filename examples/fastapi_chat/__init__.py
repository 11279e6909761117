"""A chat on FastAPI."""
