"""The rules of messages: hashtags, texts, tables of items, who is written to, what stops a message. No clock, no I/O."""
