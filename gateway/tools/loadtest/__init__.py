"""Many browser tabs at a running gateway; each checks that it gets every event once, in order."""
