"""The loads, one a file: ``SCENARIO`` for our generator, ``User`` and ``Shape`` under Locust."""
