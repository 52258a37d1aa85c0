"""Writes, sends and follows messages to customers."""
