"""Every error that codi-int raises on purpose.

    CodiError                     base: catch this one to catch them all
    ├── ConfigError               a setting or argument that cannot work
    ├── SiteError                 a layer, position or component that the model does not have
    ├── FeatureError              a feature index outside the SAE
    ├── HookError                 a hook that never fired or returned something unusable
    ├── DataError                 a data set or file that cannot be read
    ├── CheckpointError           a model checkpoint that cannot be loaded whole
    ├── SAEError                  an SAE that is broken or does not fit the site or model
    ├── OutputError               a place that cannot be written to
    └── UnitError                 units of a run that failed on every worker; all others are kept

    CodiWarning                   no error: what a reader of a result should know; see notes.py

A message says the rule, the value got, the values allowed and what to do, in two lines.
"""


class CodiError(Exception):
    """Base class; its message is meant for the user and is complete without a traceback."""

    def __init__(self, rule: str, remedy: str) -> None:
        """
        Args:
            rule: what is wrong: the rule, the value got and the values allowed. One line.
            remedy: what to do about it. One line.
        """
        # What libraries say, and names from files, may hold line breaks of any kind; a message has two lines at most.
        self.rule = " ".join(rule.splitlines())
        self.remedy = " ".join(remedy.splitlines())
        super().__init__(f"{self.rule}\n{self.remedy}")


class CodiWarning(UserWarning):
    """What a reader of a result should know; the record has it in `notes` too."""


class ConfigError(CodiError):
    """A setting or argument that cannot work."""


class SiteError(CodiError):
    """A layer, position or component that the model does not have."""


class FeatureError(CodiError):
    """A feature index outside the SAE."""


class HookError(CodiError):
    """A hook that never fired, or returned something unusable."""


class DataError(CodiError):
    """A data set or file that cannot be read."""


class CheckpointError(CodiError):
    """A model checkpoint that cannot be loaded whole."""


class SAEError(CodiError):
    """An SAE that is broken or does not fit the site or the model."""


class OutputError(CodiError):
    """A place that cannot be written to."""


class UnitError(CodiError):
    """Units of a run that failed on every worker; all others are kept. The program ends with 1, not 2."""
