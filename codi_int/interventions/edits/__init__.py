"""Edits: frozen values that say what becomes of latents and residuals."""
