"""Linear probes: what can be read from residuals, thoughts and latents, beside what could be learnt by heart."""
