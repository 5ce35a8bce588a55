"""A small production of its own, made to be backed up, damaged and recovered: for the demonstration and the tests."""
