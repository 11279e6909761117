"""A LangGraph agent that asks a person before it pays: ``python -m examples.langgraph_agent``."""
