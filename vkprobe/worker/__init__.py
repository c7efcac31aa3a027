"""The worker: all that touches Vulkan. Never imported by the command-line process."""
