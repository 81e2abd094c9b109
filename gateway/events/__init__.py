"""What an event is and how it looks on the wire. Pure: no I/O, no clock of its own."""
