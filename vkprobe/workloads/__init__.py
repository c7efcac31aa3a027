"""Workloads: the matrices that a model's evaluation multiplies by, with their shapes, types and how often each runs."""

from vkprobe.workloads.load import model, names
from vkprobe.workloads.model import Model, Skipped, Workload, WorkloadShape, shapes

__all__ = [
    "Model",
    "Skipped",
    "Workload",
    "WorkloadShape",
    "model",
    "names",
    "shapes",
]
