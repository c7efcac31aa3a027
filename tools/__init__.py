"""Development tools; nothing here is installed or needed at run time."""
