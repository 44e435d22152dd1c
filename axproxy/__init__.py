"""The parts of the service, each about one noun.

The root modules import these; these never import the root.
"""
