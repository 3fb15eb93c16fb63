"""Problems: the story generator, GSM8K-like files, and the reading of answers."""
