"""Many edits: screens of features and pairs, attribution, maps, cumulative curves, paths."""
