"""Mechanism without business nouns: errors, money, database, outbox, bus, jobs, RPC."""
