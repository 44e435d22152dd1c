"""What the service adds to the runtime, measured: `python -m benchmarks`."""
