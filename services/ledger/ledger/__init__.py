"""Owns what each customer owes."""
