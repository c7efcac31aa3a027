"""Planning, running and judging measurements; never touches Vulkan itself."""
