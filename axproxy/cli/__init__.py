"""Commands started by hand, and the Python they run on.  Read `main` first."""
