"""`python -m vkprobe`."""

from vkprobe.cli.main import main

if __name__ == "__main__":
    main()
