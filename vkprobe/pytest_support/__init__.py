"""What the pytest plugin's fixtures are made of; imported only where a test uses them."""
