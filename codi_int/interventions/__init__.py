"""Interventions: edits of SAE latents inside a continuous thought, and what they do to the answers."""
