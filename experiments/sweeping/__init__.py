<<<<<<< HEAD
"""Grids of runs: who has which, how each one ended, and their table."""
=======
"""Many runs into one table."""
>>>>>>> next
