"""Record files: reading, resuming, appending."""
