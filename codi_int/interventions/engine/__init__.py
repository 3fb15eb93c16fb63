"""The engine: clean pass, suffix and naive runs, controls, results and how they are kept."""
