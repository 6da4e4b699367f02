"""Many runs into one table."""
