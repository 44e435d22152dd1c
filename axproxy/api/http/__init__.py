"""What all dialects need of HTTP itself: request bodies, origins, a client that hangs up."""
