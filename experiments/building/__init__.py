"""From a configuration to data, networks and methods."""
