"""What all dialects need of HTTP: request bodies, responses, origins, a client that hangs up.

Not about any one API.  Read `requests` first.
"""
