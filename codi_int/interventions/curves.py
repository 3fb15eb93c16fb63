"""Cumulative ablation: the top n features taken out together, against as many random ones, for growing n."""

from dataclasses import asdict, dataclass
from typing import Any

from codi_int.types import Environment, RunCounts, Site


@dataclass(frozen=True)
class CurvePoint:
    """What taking out so many features together did."""

    n: int
    """how many features"""
    accuracy: float
    """share of right answers with them out"""
    estimate: float
    """change of accuracy"""
    low: float
    """lower end of its interval"""
    high: float
    """upper end of its interval"""
    logprob: float
    """mean change of the clean answer's log-probability, nats"""
    logprob_low: float
    """lower end of its interval"""
    logprob_high: float
    """upper end of its interval"""
    p_value: float | None
    """exact McNemar; None where no problem was touched"""
    n_touched: int
    """problems on which the ablation changed anything"""


@dataclass(frozen=True)
class AblationCurve:
    """A finished curve."""

    site: Site
    """where"""
    order: str
    """what ranks the features: attribution, screen or frequency"""
    model: str
    """name of the model"""
    sae: str
    """name of the SAE"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    n_correct: int
    """right answers of the undisturbed model"""
    n_living: int
    """features that fire on any of the problems; only these are ranked and drawn"""
    seed: int
    """of the random sets and the bootstrap"""
    features: tuple[int, ...]
    """the living features in the order in which they are taken out, first the strongest"""
    top: tuple[CurvePoint, ...]
    """the first n of them, for growing n"""
    random: tuple[tuple[CurvePoint, ...], ...]
    """as many random living features, one tuple per draw; a draw's sets grow by adding features"""
    counts: RunCounts
    """work done and saved"""
    environment: Environment
    """versions, hashes, time"""

    schema = "codi-int/curve@1"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **asdict(self)}
