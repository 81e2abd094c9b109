"""Lists of an organization's executions: what is in memory while a list is open."""
