"""Data sets: embedded, from files, simulated; batches and augmentation."""
