"""Fixtures of the kit: real PostgreSQL, in-process gRPC behind its interceptors."""

pytest_plugins = ["kit.testing"]
