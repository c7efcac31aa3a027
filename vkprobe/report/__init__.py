"""From records to the matrix, and its rendering: terminal, Markdown, CSV, JSON, one HTML file."""
