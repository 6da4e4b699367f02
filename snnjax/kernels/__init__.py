"""Fast forms behind plain functions, each equal to its plain reference."""
