"""The checks before a start of the vendor's program: the card, its host, and the files.

Not the card itself: `card` reads and watches it.  Read `finding` first (what a check returns), then
`context` (what it looks at) and `checks` (the list).  `inspection` runs them, `gate` does so before
each launch, and `doctor` prints them.
"""
