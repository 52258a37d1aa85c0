"""Takes receivables in from files, recognises, validates and applies them."""
