<<<<<<< HEAD
"""From a configuration to what runs: shared between the runs of a process."""
=======
"""From a configuration to data, networks, methods and optimizers."""
>>>>>>> next
