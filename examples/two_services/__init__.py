"""A gateway, the agent service behind it, and a vendor of models that is nobody of ours."""
