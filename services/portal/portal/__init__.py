"""The customer's pages: links, answers, payments."""
