"""All SQL of the ledger: tables, loads, what is said of it, queries, holds."""
