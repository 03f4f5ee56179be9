"""Measure the engine against the bare tools: `python -m bench` prints a table and draws a chart."""
