"""Many browser tabs against a running gateway, each checking that it got every event in order."""
