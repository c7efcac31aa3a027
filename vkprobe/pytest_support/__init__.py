"""Code behind the pytest plugin's fixtures; imported only where a test uses them."""
