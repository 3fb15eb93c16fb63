"""The hooked CODI model: loading, one block stack per architecture, thinking, hooks, capture."""
