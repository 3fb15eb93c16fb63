"""Patches between problems, and predictions of what an intervention should do."""
