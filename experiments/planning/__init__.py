"""What an evaluation will do, planned and checked before it begins."""
