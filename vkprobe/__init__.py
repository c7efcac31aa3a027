"""Driver feature-gap analyzer and microbenchmarks for LLM inference over Vulkan."""

__version__ = "0.1.0"
