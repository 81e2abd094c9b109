"""Publishing by HTTP."""
