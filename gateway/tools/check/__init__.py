"""What is wrong with an installation, or may go wrong one night: looked at, and left as it was."""
