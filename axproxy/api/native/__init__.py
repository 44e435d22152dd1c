"""Our own small API: `/generate`, `/load`.  Read `routes` first."""
