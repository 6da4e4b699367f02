"""A run: how it is started, where it lies, what it was made from."""
