"""Two moons, told apart: run it as `python -m trainer`."""
