"""Tests of one folder."""
