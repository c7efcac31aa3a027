"""Drivers: finding manifests, the environments they run in, null devices, the embedded Mesa set, launching workers."""
