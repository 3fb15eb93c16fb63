"""The hooked CODI model: loading, one block stack per architecture, thinking, hooks, capture.

Import from the modules: `loading.load_model`, `store.save_model`, `hooked.CodiModel`, `hooks.HookPoint`.
"""
