"""Networks of a study as arrays: their gradients, clean and under attack."""
