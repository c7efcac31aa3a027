"""A thin layer over the `vulkan` package's raw `ffi` and `lib`: one small file per Vulkan object."""
