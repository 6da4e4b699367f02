"""The questions: one pool of networks, their measurements, and the answers."""
