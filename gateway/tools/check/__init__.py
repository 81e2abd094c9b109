"""Finds what is wrong with an installation, or may become wrong, and changes nothing there."""
