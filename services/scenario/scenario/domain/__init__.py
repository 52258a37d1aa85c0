"""The rules of the scenario service: whose turn it is, why, and what became of promises. No clock, no I/O."""
