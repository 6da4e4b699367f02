"""From a configuration to what runs: shared between the runs of a process."""
