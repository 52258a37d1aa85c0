"""Computes, per account, the one action owed today."""
