"""Follows one execution in a terminal: reads the stream (`follow`) and shows it (`view`)."""
