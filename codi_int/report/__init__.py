"""Figures of finished runs, drawn from the documents that commands write."""
