"""Comparing two sets of records: pairing, differences, and the conditions that they meet. Pure."""
