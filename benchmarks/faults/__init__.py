"""What becomes of requests while something is broken. See `__main__`."""
