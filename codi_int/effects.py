"""What an intervention did, as public records: the effect on the answers and the controls beside it."""

from dataclasses import dataclass

from codi_int.records import Conclusion, Estimate, MeanEffect
from codi_int.shown import Shown
from codi_int.sites import Site


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


@dataclass(frozen=True)
class ResidualDistance:
    """How far the residuals that an edit leaves lie from real ones: Mahalanobis distance from the mean of undisturbed
    residuals at the site, by their covariance (Ledoit and Wolf). Each residual, edited or not, is measured by those of
    problems in other folds (five, by cluster), for no state is far from states that it was counted among."""

    n_real: int
    """undisturbed residuals, of all problems of the run"""
    before: float
    """share of these that lie nearer than a touched problem's own residual before the edit; median over the touched
    problems. With splice `replace`, of the residual that the reconstruction alone leaves"""
    after: float
    """the same of the edited residual"""
    change: Estimate
    """mean of after - before over the touched problems; bootstrap-t by cluster"""
    n_beyond: int
    """touched problems whose edited residual lies farther than every undisturbed one"""
    beyond: Estimate
    """their share; Wilson by cluster"""
    controls: float | None = None
    """median over the matched random features of their own mean change; None without any"""


@dataclass(frozen=True)
class ThoughtChange:
    """What an edit makes of the thought that is made next, beside that of the undisturbed run."""

    thought: int
    """which one, from 1"""
    cosine: float
    """between the two; median over the touched problems"""
    cosine_low: float
    """the cosine below which a twentieth of them lies"""
    norm: float
    """length as a multiple of that of the undisturbed one; median"""
    norm_low: float
    """the multiple below which a twentieth lies"""
    norm_high: float
    """the multiple above which a twentieth lies"""
    mean_cosine: Estimate
    """mean cosine; bootstrap-t by cluster"""
    mean_norm: Estimate
    """mean multiple; bootstrap-t by cluster"""
    before_cosine: float = 1.0
    """median cosine of what the edit is measured against: with splice `replace`, of the reconstruction alone"""
    before_norm: float = 1.0
    """median multiple of the same"""
    controls: float | None = None
    """median over the matched random features of their own mean cosine; None without any"""


@dataclass(frozen=True)
class FeatureTurn:
    """A feature of a later position that an edit switches on or off."""

    site: Site
    """where"""
    feature: int
    """which"""
    n_before: int
    """touched problems on which it fires without the edit"""
    n_on: int
    """silent without the edit, fires with it"""
    n_off: int
    """fires without the edit, silent with it"""
    share: Estimate
    """(n_on + n_off) of the touched problems; Wilson by cluster, which does not know that the feature was picked"""


@dataclass(frozen=True)
class ResultRead:
    """A result of the problem's steps that the logit lens reads at a later thought, without the edit and with it."""

    result: str
    """`step 1`, `step 2`, ... or `answer`"""
    thought: int
    """at which position"""
    n: int
    """touched problems whose result is a single token and stands nowhere else in the problem"""
    n_before: int
    """problems on which it is among the top tokens of some layer without the edit"""
    n_after: int
    """the same with it"""
    change: Estimate
    """share with the edit minus share without; exact sign flips by cluster, corrected over results and thoughts
    (Holm)"""


@dataclass(frozen=True)
class LaterEffects:
    """What an edit changes at the thoughts that come after it, on the problems that it touches."""

    n_sites: int
    """places at later positions that have an SAE"""
    n_features: int
    """features of these SAEs that fire on a touched problem, with the edit or without"""
    fires: float | None
    """features that fire at all these places together without the edit, mean over the touched problems"""
    turns_on: float | None
    """features that the edit switches on, mean over the touched problems; None where no place has an SAE"""
    turns_off: float | None
    """features that it switches off"""
    controls: float | None
    """switched either way by the same edit of a matched random feature, mean over the problems that that touches,
    median over these; None without any"""
    n_controls: int
    """how many these are"""
    features: tuple[FeatureTurn, ...]
    """those that are switched on the most problems"""
    results: tuple[ResultRead, ...]
    """what the lens reads; empty where problems have no steps"""
    top: int
    """among how many tokens a result counts as read"""


@dataclass(frozen=True)
class SideEffects:
    """What an edit does besides to the answers, on the problems that it touches. At several sites: at the first."""

    n_touched: int
    """problems whose latents or residual the edit changed: all means and medians here are over them"""
    residual: ResidualDistance | None
    """of the edited residual; None where the undisturbed ones do not vary, or are two"""
    next_thought: ThoughtChange | None
    """of the thought made next; None behind the last"""
    later: LaterEffects | None = None
    """what changes at later thoughts; None where it was not asked for, or nothing comes later"""
