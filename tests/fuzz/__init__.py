"""Fuzzing: any bytes at a running service and at the parsers; ``make fuzz`` does it for long."""
