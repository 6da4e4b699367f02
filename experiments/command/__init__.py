"""How a binary starts, speaks and ends."""
