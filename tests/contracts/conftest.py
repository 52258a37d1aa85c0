"""Contract tests look at all parts at once: contracts, tables, processes, files."""

pytest_plugins = ["kit.testing"]
