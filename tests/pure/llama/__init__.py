"""llama.cpp's rules."""
