"""Commands that are started by hand, and the Python that they run on.

The service itself is composed in backend.py.  Read `main` first, then `own_python`.
"""
