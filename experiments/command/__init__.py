"""How a binary speaks, is interrupted and ends."""
