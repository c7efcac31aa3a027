"""Requirements of llama.cpp's kernel paths as data, and the one function that holds a device against them."""

from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.load import all_requirements, coopmat_tuple, kernel_requirement, requirement, requirements
from vkprobe.requirements.model import Gap, Missing, Requirement, TupleMatch

__all__ = [
    "Gap",
    "Missing",
    "Requirement",
    "TupleMatch",
    "all_requirements",
    "coopmat_tuple",
    "evaluate",
    "kernel_requirement",
    "requirement",
    "requirements",
]
