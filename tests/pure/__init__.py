"""Tests that need no Vulkan driver."""
