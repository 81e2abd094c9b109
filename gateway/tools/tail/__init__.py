"""Follows one execution from a terminal: the stream (`follow`) and how it is shown (`view`)."""
