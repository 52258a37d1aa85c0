"""The rules of messages: hashtags, texts, tables, who is written to, what stops a message. No clock, no I/O."""
