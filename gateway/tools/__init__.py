"""Programs that check, load, show and read a gateway. No gateway needs them."""
