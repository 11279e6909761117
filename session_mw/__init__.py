"""Session tracking for LLM and agent applications."""
