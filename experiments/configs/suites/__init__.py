"""Suites of attacks: each file has a get_config() that returns them."""
