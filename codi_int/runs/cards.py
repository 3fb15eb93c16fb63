"""Cards of what goes to a hub: README.md with its YAML head, of files and weights; what nobody measured is not said."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codi_int.catalog import read_quietly
from codi_int.model.describe import describe_model
from codi_int.model.hooked import CodiModel

MARK = "<!-- written by codi-int push; a card without this line is left as it is -->"
TAGS = ("codi-int", "CODI", "continuous-chain-of-thought")
UNKNOWN = "not measured"


def model_card(model: CodiModel, measured: Mapping[str, Any], repository: str, license: str | None = None) -> str:
    """The card of a model.

    Args:
        model: loaded whole.
        measured: its `card.json`: accuracy with its interval, on which problems; empty where nobody measured.
        repository: owner and name.
        license: in the hub's words.
    """
    about = describe_model(model)
    rows = {
        "architecture": f"{about.architecture}, {about.n_layers} layers, d_model {about.d_model}",
        "weights": f"{about.n_parameters:,}",
        "projection": about.projection,
        "continuous thoughts": about.n_thoughts,
        "tokens": f"vocabulary {about.vocab_size:,}, at most {about.max_positions:,} positions",
        "special tokens": ", ".join(
            f"{name} {token}" for name, token in about.special_ids.items() if token is not None
        ),
        "accuracy": _accuracy(measured),
        "SHA-256 of the weights": f"`{about.sha256}`",
    }
    told = {name: value for name, value in about.found.items() if isinstance(value, str | int | float | bool)}
    rows |= {name.replace("_", " "): value for name, value in told.items()}
    body = [
        f"# {about.name}",
        "A CODI model: it reasons in continuous vectors, not in words, before it answers.",
        _table(rows),
        "```python\nimport codi_int as ci\n\n"
        f'model = ci.load_model("{repository}")\n'
        'print(model.answer("Tom has 3 pens and buys 4. How many pens does Tom have?")[0].text)\n```',
    ]
    return _card(body, _head(license, pipeline_tag="text-generation", **_results(about.name, measured)))


def sae_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the card says of an SAE: from its `cfg.json`, in SAELens' words."""
    known = config.get("metadata")
    known = known if isinstance(known, dict) else {}
    measures = known.get("measures")
    names = ("architecture", "d_in", "d_sae", "k")
    return {
        **{name: config.get(name) for name in names},
        **{name: known.get(name) for name in ("site", "model_name", "model_sha256", "training_data", "hook_name")},
        "measures": measures if isinstance(measures, dict) else {},
    }


def sae_card(saes: Mapping[str, Mapping[str, Any]], repository: str, license: str | None = None) -> str:
    """The card of a repository of SAEs.

    Args:
        saes: folder in the repository to `sae_facts`.
        repository: owner and name.
        license: in the hub's words.
    """
    first = next(iter(saes))
    heads = ("folder", "site", "architecture", "d_in", "d_sae", "k", "variance explained", "dead", "held-out rows")
    rows = [[folder, *_sae_cells(facts)] for folder, facts in sorted(saes.items())]
    lines = [_row(heads), _row(["---"] * len(heads)), *map(_row, rows)]
    models = {(facts["model_name"], facts["model_sha256"]) for facts in saes.values() if facts["model_name"]}
    data = sorted({str(facts["training_data"]) for facts in saes.values() if facts["training_data"]})
    trained = [
        f"- model `{_plain(name)}`, weights SHA-256 `{_plain(sha or 'not noted')}`"
        for name, sha in sorted(models, key=str)
    ]
    body = [
        f"# {repository.split('/')[1]}",
        "Sparse autoencoders on activations of continuous thoughts: `L14.P3` is the output of block 14 at position 3, "
        "where 0 is the `<bot>` token and 1 on are the thoughts.",
        "\n".join(lines),
        "Variance explained and dead features (those that fire on no row) are of the held-out rows of their training.",
        *(["Trained on thoughts of\n\n" + "\n".join(trained)] if trained else []),
        *(["Problems: " + ", ".join(f"`{_plain(name)}`" for name in data)] if data else []),
        f"```\ncodi-int pull {repository} --out saes\ncodi-int features rank --sae saes/{first}\n```",
        f'SAELens reads them, too: `SAE.from_pretrained("{repository}", "{first}")`. It applies an SAE at every token; '
        "these are made for the one position that they name.",
    ]
    return _card(body, _head(license, library_name="saelens"))


def run_card(folder: Path, words: str, files: Sequence[str], license: str | None = None) -> str:
    """The card of a kept run: its command, verdict and files."""
    from huggingface_hub import DatasetCardData

    result = read_quietly(folder / "result.json")
    effect = result.get("effect")
    verdict = effect.get("verdict") if isinstance(effect, dict) else None
    body = [
        f"# {folder.resolve().name}",
        f"A run of codi-int:\n\n```\n{words or 'saved from Python'}\n```",
        *([f"> {_plain(verdict)}"] if verdict else []),
        "\n".join(f"- `{_plain(name)}`" for name in files),
        "`ci.load_result(folder)` reads it back; the files by themselves are JSON and Parquet.",
    ]
    return _card(body, DatasetCardData(tags=list(TAGS), license=license))


def _card(body: Sequence[str], head: Any) -> str:
    """Head, mark and paragraphs; `head` is a `ModelCardData` or `DatasetCardData`."""
    return f"---\n{head.to_yaml()}\n---\n\n{MARK}\n\n" + "\n\n".join(body) + "\n"


def _head(license: str | None, **more: Any) -> Any:
    """The YAML head of a card; it has no license where none was given."""
    from huggingface_hub import ModelCardData

    given = {} if license is None else {"license": license}
    return ModelCardData(**{"library_name": "codi-int", "tags": list(TAGS), **given, **more})


def _results(name: str, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracy as the hub's own record of it; nothing where it was not measured."""
    from huggingface_hub import EvalResult

    if not _is_measured(measured):
        return {}
    data = str(measured["data"])
    found = EvalResult(
        task_type="text-generation",
        dataset_type=data,
        dataset_name=data,
        metric_type="accuracy",
        metric_value=measured["accuracy"],
        dataset_args={"n": measured["n"]},
    )
    return {"model_name": name, "eval_results": [found]}


def _is_measured(measured: Mapping[str, Any]) -> bool:
    return all(name in measured for name in ("data", "n", "n_correct", "accuracy", "low", "high"))


def _accuracy(measured: Mapping[str, Any]) -> str:
    if not _is_measured(measured):
        return UNKNOWN
    ends = f"95% interval {100 * measured['low']:.2f} to {100 * measured['high']:.2f} %"
    share = f"{100 * measured['accuracy']:.2f} % ({measured['n_correct']:,} of {measured['n']:,}; {ends})"
    return f"{share} of `{_plain(measured['data'])}`"


def _sae_cells(facts: Mapping[str, Any]) -> list[str]:
    measures = facts["measures"]
    known = [facts["site"] or facts["hook_name"], *(facts[name] for name in ("architecture", "d_in", "d_sae", "k"))]
    shares = [_share(measures.get(name)) for name in ("explained_variance", "dead_share")]
    rows = measures.get("n_rows")
    return [*("-" if value is None else str(value) for value in known), *shares, f"{rows:,.0f}" if rows else UNKNOWN]


def _share(value: Any) -> str:
    return f"{100 * value:.2f} %" if isinstance(value, int | float) else UNKNOWN


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join([_row(["", ""]), _row(["---", "---"]), *(_row([name, value]) for name, value in rows.items())])


def _row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(value: Any) -> str:
    """A value in one line that neither ends a cell nor is read as HTML."""
    text = " ".join(str(value).split())
    return text.replace("|", "\\|").replace("<", "&lt;")
