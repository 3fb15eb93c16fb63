"""Kept runs: what is done with several of them."""
