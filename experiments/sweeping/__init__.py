"""Grids of runs: who has which, how each one ended, and their table."""
