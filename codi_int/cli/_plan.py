"""`--plan`: what a run will take, printed before anything runs, and held against what it took."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from codi_int.cli._console import Report
from codi_int.cli._fitting import Column, Page, table
from codi_int.cli._job import run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import amount, counted
from codi_int.errors import ConfigError
from codi_int.files import prepare_folder, write_json
from codi_int.run_folder import PLAN, RunFolder

if TYPE_CHECKING:
    from codi_int.runs.plan import RunPlan


def show_plan(options: Any, make: Callable[[Report], "RunPlan"], without: str = "", own: Sequence[str] = ()) -> None:
    """Estimate, print, and leave the plan where `--out` names a folder, for the run that is carried out there.

    Args:
        options: of the command.
        make: makes the estimate.
        without: what the estimate leaves out, in a sentence.
        own: documents of earlier releases that the command goes on from; see `run_folder`.

    Raises:
        OutputError: the folder holds another run.
    """
    folder = run_folder(options, own=own)
    folder.check()

    def work(report: Report) -> "RunPlan":
        plan = make(report)
        if folder.path is not None:
            prepare_folder(folder.path)
            write_json(folder.path / PLAN, {**plan.to_dict(), "digest": folder.digest}, indent=1)
        return plan

    run_job(
        work,
        document=lambda plan: {**plan.to_dict(), "digest": folder.digest},
        page=lambda plan: plan_page(plan, folder, without),
        as_json=options.as_json,
    )


def show_screen_plan(options: Any, load: Callable[[], Any]) -> None:
    """The plan of `screen`.

    Args:
        options: of the command.
        load: what the options name: engine and problems.

    Raises:
        ConfigError: for more than a screen of single features.
    """
    for name in ("pairs", "seeds", "against"):
        if getattr(options, name) is not None:
            raise ConfigError(
                f"--plan counts a screen of single features, not --{name}.", f"Leave out one of --plan and --{name}."
            )

    def make(report: Report) -> "RunPlan":
        from codi_int.interventions.edits.basic import check_features
        from codi_int.runs.plan import plan_screen

        stage = load()
        saes = stage.engine.saes
        features = {site: check_features(options.features or range(sae.d_sae), sae.d_sae) for site, sae in saes.items()}
        return plan_screen(stage.engine, stage.problems, features, options.seed, report)

    ordering = "" if options.order == "index" else " and what orders them"
    show_plan(options, make, f"Without the confirmation of what is found{ordering}.")


def plan_page(plan: "RunPlan", folder: RunFolder, without: str = "") -> Page:
    """Rows, memory and seconds, and what they rest on."""
    whole = plan.n_probed == plan.n_problems
    head = Text("plan, nothing was run", style="bold")
    head.append(f"\n{counted(plan.n_problems, 'problem')} · {counted(plan.arms, 'arm')}", style="not bold")
    out = table("", "estimate", Column("", text=True))
    out.add_row("rows", f"{plan.rows:,}", f"at most {plan.most_rows:,}: every arm on every problem")
    out.add_row("memory, GiB", f"{plan.memory / 2**30:.2f}", "at the peak, program and weights included")
    parts = f"clean pass {amount(plan.clean_seconds)}, rows {amount(plan.row_seconds)}"
    out.add_row("seconds", amount(plan.seconds), f"{parts}, other {amount(plan.other_seconds)}")
    sample = "all problems" if whole else f"{counted(plan.n_probed, 'problem')}, spread over all,"
    counted_rows = "rows are counted" if whole else "rows are scaled from there"
    words = f"From {sample} run here in {amount(plan.probe_seconds)} s: {counted_rows}; "
    words += "seconds are of one process, without loading."
    kept = "" if folder.path is None else f" Kept in {folder.path}: the run there is held against it."
    return Page(head, "", out, "", Text(f"{words}{' ' if without else ''}{without}{kept}", style="dim"))
