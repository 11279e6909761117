"""Small chat applications, each with one added line of session-mw."""
