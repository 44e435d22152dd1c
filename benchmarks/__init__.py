"""Measures what the service adds to the runtime: `python -m benchmarks`."""
