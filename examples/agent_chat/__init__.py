"""An agent with tools, on FastAPI."""
