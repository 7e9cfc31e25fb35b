"""The domain: structures and pure functions. No await, no I/O."""
