"""Load: many clients of one server at once; `make load`."""
