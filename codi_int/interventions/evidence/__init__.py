"""The statistics: paired tests, intervals, families of tests, power, and what they allow one to say."""
