"""`make bench`: how fast the gateway is, as ratios to a floor. Nothing here judges correctness."""
