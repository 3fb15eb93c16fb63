"""What an intervention did, as public records: the effect on the answers and the controls beside it."""

from dataclasses import dataclass

from codi_int.records import Conclusion, Estimate, MeanEffect
from codi_int.shown import Shown


@dataclass(frozen=True)
class Symmetry:
    """Whether changes are symmetric about 0, by cluster. That is another question than whether their mean is 0."""

    n: int
    """clusters that changed"""
    sign_flip_p: float
    """sign flips of cluster sums, two-sided"""
    signed_rank_p: float
    """Wilcoxon's signed ranks of cluster sums, two-sided"""


@dataclass(frozen=True, repr=False)
class Effect(Shown):
    """What an intervention did to the answers, paired by problem."""

    estimate: float
    """accuracy(intervened) - accuracy(clean) = (n_fixed - n_broken) / n; with splice `replace`, here and below, the
    reconstructed arm takes the place of the clean one"""
    low: float
    """lower end of the interval for the estimate"""
    high: float
    """upper end of the interval for the estimate"""
    confidence: float
    """level of the intervals, such as 0.95"""
    p_value: float | None
    """exact sign flips of cluster sums, two-sided (McNemar's test where clusters are single problems); None where
    nothing was tested"""
    method: str
    """the test, and the interval where it has a name of its own"""
    n: int
    """problems"""
    n_touched: int | None
    """problems on which the edit changed anything at all; None where that is not known"""
    n_broken: int
    """right in the clean arm, wrong after the intervention"""
    n_fixed: int
    """wrong in the clean arm, right after the intervention"""
    n_answer_changed: int | None
    """problems that got another answer, right or wrong; None where that is not known"""
    logprob: MeanEffect | None
    """the change of the clean answer's log-probability in nats, where it was measured"""
    minimum_detectable: float | None
    """the smallest true change of accuracy that is found here with 80% power, rounded up to a tenth of a point; None
    where no change that this edit can make would be found"""
    verdict: str
    """the finding in words"""
    conclusion: Conclusion | None = None
    """about accuracy: changed, equivalent, untested or unresolved; None in runs kept before there was such a word"""
    bound: float | None = None
    """the smallest change of accuracy that matters, declared beforehand, a fraction"""
    p_equivalence: float | None = None
    """that accuracy changes by less than the bound: the larger of two exact one-sided tests; None where not tested"""
    largest_possible: float | None = None
    """n_touched / n: accuracy on these problems cannot change by more; None where n_touched is not known"""
    largest_in_population: float | None = None
    """upper 95% limit of that share on other problems of the population (Clopper and Pearson)"""
    probability: MeanEffect | None = None
    """the change of the clean answer's probability, with a betting interval, which holds however few carry it"""
    margin: MeanEffect | None = None
    """the change of the margin: logit of the clean answer's token minus the best other, smallest over its tokens"""
    n_effective: float | None = None
    """(sum d^2)^2 / sum d^4 of the log-probability changes: how many problems carry their mean"""
    share_of_largest: float | None = None
    """share of the sum of absolute log-probability changes that the three largest hold"""
    n_clusters: int | None = None
    """problems that ask for the same calculations count as one: so many different ones"""
    design_effect: float | None = None
    """how many problems count as one at worst, by the sizes of the clusters (sum m^2 / sum m); 1 for single problems"""
    testable: bool | None = None
    """whether the edit touches enough clusters ever to be significant; what is not leaves the family"""
    symmetry: Symmetry | None = None
    """of the changes of the clean answer's log-probability: beside the mean, and no test of it; None where none
    changed"""
    condition: str = ""
    """under which the verdict holds, in words: what later positions did; empty where they were free"""


@dataclass(frozen=True)
class Matched:
    """What an edit does to how many problems, beside the same of its controls."""

    touched: int
    """problems that the edit touches"""
    touched_median: float
    """median over the controls"""
    edit_size: float
    """mean norm of what the edit adds to a touched residual"""
    edit_size_median: float
    """median over the controls"""


@dataclass(frozen=True)
class ControlSet:
    """The same edit done to something that should not matter."""

    draws: int
    """how many controls ran"""
    labels: tuple[str, ...]
    """what each control did"""
    firing_rates: tuple[float, ...]
    """share of problems that each control touched"""
    edit_sizes: tuple[float, ...]
    """mean norm of the change that each control made to a touched residual"""
    estimates: tuple[float, ...]
    """accuracy change of each control"""
    logprob_estimates: tuple[float, ...]
    """log-probability change of each control, in nats"""
    rank_of_effect: float | None
    """share of controls whose accuracy change is smaller in magnitude, ties counting half; None without controls"""
    rank_of_logprob: float | None
    """the same for the log-probability change"""
    p_value: float | None = None
    """(1 + controls whose change of accuracy is as large) / (1 + draws): a rank among them, not a test"""
    difference: Estimate | None = None
    """effect minus the controls' mean, of accuracy, paired by problem; betting interval on [-2, 2]"""
    matched: Matched | None = None
    """how like the edit the controls are"""
