"""Suites of attacks: each file has a get_config() with the key ``attacks``."""
