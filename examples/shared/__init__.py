"""What the chats have in common: the model, its books, the page and the telemetry set-up."""
