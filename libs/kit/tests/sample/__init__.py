"""A service as small as one can be, for the kit's own tests."""
