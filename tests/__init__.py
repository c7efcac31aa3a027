"""Tests: pure (no driver), recorded (real files), drivers (real drivers)."""
