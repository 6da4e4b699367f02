"""Robust, sparse-gradient spiking neural networks in JAX, and attacks."""
