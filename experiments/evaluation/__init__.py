"""The evaluation of one trained network."""
