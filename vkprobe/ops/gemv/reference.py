"""The reference of this product: an exact and a random pass against numpy."""

from vkprobe.ops.matrix_reference import product_reference as reference

__all__ = ["reference"]
