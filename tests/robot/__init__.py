"""A seeded random walk over all verbs, with the full check after every step. Run it with `python -m tests.robot`."""
