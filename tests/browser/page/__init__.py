"""The page in Chromium, through long runs, restarts and all that it shows of them."""
