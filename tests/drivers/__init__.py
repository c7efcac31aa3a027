"""Tests that need a driver use a real one: the embedded set's lavapipe and null devices."""
