"""The commands. The only package that prints and exits."""
