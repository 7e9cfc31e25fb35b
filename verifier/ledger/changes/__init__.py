"""The change log, which workers follow."""
