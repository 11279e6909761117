"""One file a framework: finds the application, adds a shell, translates. Decisions live below."""
