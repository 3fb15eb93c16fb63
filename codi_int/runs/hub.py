"""Models, SAEs and kept runs to a model hub and back, by huggingface_hub.

A model is a repository of its own, which `load_model` reads by its name. SAEs lie in a folder for each site
(`L14.P3/cfg.json`), as SAELens' `from_pretrained` looks for them, so that one repository holds those of many sites. A
kept run is a repository of data. Each has a card, written from what its files and weights say; see `cards`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Literal

from codi_int.catalog import SAE_CONFIG, about_sae, is_sae, read_quietly, saes_below, shipped_models, site_noted
from codi_int.errors import CodiError, ConfigError, DataError, OutputError
from codi_int.files import explain_output_errors, prepare_folder
from codi_int.model.loading import CHECKPOINT_FILES, find_folder, load_model
from codi_int.model.store import PROJECTION, SETTINGS, is_native_format
from codi_int.run_folder import MANIFEST, read_kept
from codi_int.runs.cards import MARK, model_card, run_card, sae_card, sae_facts
from codi_int.sae.store import WEIGHTS_FILE, load_sae, save_sae

Kind = Literal["model", "SAEs", "run"]
README = "README.md"
MODEL_FILES = ("*.safetensors", "*.json", "tokenizer*", "*.model", "*.txt")
"""of a model's folder, not of the folders in it"""
HALF = Path(".cache") / "huggingface"
"""what a download that was stopped leaves in its folder"""
NO_TOKEN = "Make one with write access on the hub's page of access tokens, then set HF_TOKEN or run: hf auth login"


@dataclass(frozen=True)
class Transfer:
    """What went to a hub, or came from it."""

    kind: Kind
    """a model, SAEs, or a kept run"""
    repository: str
    """owner and name"""
    revision: str
    """the commit"""
    url: str
    """the page; of what came, the folder"""
    files: tuple[str, ...]
    """their names in the repository"""
    sha256: tuple[tuple[str, str], ...] = ()
    """of weights: `model`, or the folder of an SAE, and their hash"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides"""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        plain = {"kind": self.kind, "repository": self.repository, "revision": self.revision, "url": self.url}
        return {**plain, "files": list(self.files), "sha256": dict(self.sha256), "notes": list(self.notes)}


@dataclass(frozen=True)
class Parcel:
    """What is to go: a folder that holds just that, with its card."""

    kind: Kind
    """a model, SAEs, or a kept run"""
    files: tuple[tuple[str, Path], ...]
    """name in the repository, and the file"""
    card: str
    """its README"""
    sha256: tuple[tuple[str, str], ...] = ()
    """hashes of weights"""
    saes: tuple[tuple[str, dict[str, Any]], ...] = ()
    """of SAEs: folder in the repository, and the facts of their card"""


def check_name(repository: str) -> str:
    """The name; ConfigError unless it is an owner and a name."""
    part = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?"
    if not re.fullmatch(rf"{part}/{part}", repository) or "--" in repository or ".." in repository:
        raise ConfigError(
            f"{repository!r} is no name of a repository: it takes an owner and a name.",
            "Write OWNER/NAME, such as zen-E/CODI-gpt2.",
        )
    return repository


def push(what: str | Path, repository: str, *, private: bool = False, license: str | None = None) -> Transfer:
    """Upload a model, SAEs or a kept run, each with a card; the repository is made where there is none.

    Args:
        what: a shipped name, or a folder: of a model in the native format, of an SAE, of several, of a run.
        repository: owner and name.
        private: make it for its owner alone; one that is there stays as it is.
        license: for the card, in the hub's words; none is said where none is given.

    Raises:
        ConfigError: a name without an owner, no token, or one that may not write there.
        DataError: neither model nor SAE nor run.
        OutputError: no hub to be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    check_name(repository)
    if not get_token():
        raise ConfigError("There is no access token, and the hub takes nothing without one.", NO_TOKEN)
    with TemporaryDirectory() as place:
        parcel = pack(what, Path(place), repository, license)
        kind = "dataset" if parcel.kind == "run" else "model"
        api = HfApi(library_name="codi-int")
        with explain_hub(repository, writing=True):
            api.create_repo(repository, repo_type=kind, private=private or None, exist_ok=True)
            there = api.list_repo_files(repository, repo_type=kind)
            card, notes = _card_beside(api, parcel, repository, there, license)
            sent = [CommitOperationAdd(name, str(file)) for name, file in parcel.files]
            sent += [CommitOperationAdd(README, card)] if card else []
            done = api.create_commit(
                repository, sent, commit_message=f"{parcel.kind} by codi-int", repo_type=kind, run_as_future=False
            )
    files = tuple(one.path_in_repo for one in sent)
    return Transfer(
        kind=parcel.kind,
        repository=repository,
        revision=done.oid,
        url=_page(api, repository, kind),
        files=files,
        sha256=parcel.sha256,
        notes=notes,
    )


def _page(api: Any, repository: str, kind: str) -> str:
    return f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repository}"


def _card_beside(
    api: Any, parcel: Parcel, repository: str, there: Sequence[str], license: str | None
) -> tuple[bytes | None, tuple[str, ...]]:
    """The card, with the SAEs that the repository has already; none in the place of one that somebody wrote."""
    kind = "dataset" if parcel.kind == "run" else "model"
    if README in there:
        old = Path(api.hf_hub_download(repository, README, repo_type=kind)).read_text(encoding="utf-8")
        if MARK not in old:
            return None, (f"{README} there was written by somebody, so it stays as it is.",)
    if parcel.kind != "SAEs":
        return parcel.card.encode(), ()
    own = dict(parcel.saes)
    others = [name for name in there if PurePosixPath(name).name == SAE_CONFIG]
    for name in others:
        folder = str(PurePosixPath(name).parent)
        if folder not in own:
            file = Path(api.hf_hub_download(repository, name, repo_type=kind))
            own[folder] = sae_facts(read_quietly(file))
    return sae_card(own, repository, license).encode(), ()


def pack(what: str | Path, place: Path, repository: str, license: str | None = None) -> Parcel:
    """What is to be uploaded: loaded whole, for what is broken is not sent.

    Args:
        what: as for `push`.
        place: an empty folder for files that have to be written.
        repository: for the lines of the card that say how to load it.
        license: for the card.

    Raises:
        DataError: neither model nor SAE nor run.
    """
    name, folder = str(what), Path(what).expanduser()
    if is_sae(name):
        return _pack_saes({_folder_of(name): name}, place, repository, license)
    if folder.is_dir() and (inside := saes_below(folder)) and not is_native_format(folder):
        # a sweep has several of a site: as they lie here, so they lie there
        named = {path.relative_to(folder).as_posix(): str(path) for path in inside}
        return _pack_saes(named, place, repository, license)
    if _is_model(name):
        return _pack_model(name, repository, license)
    if folder.is_dir() and (folder / MANIFEST).is_file() and read_kept(folder) is not None:
        return _pack_run(folder, repository, license)
    if not folder.is_dir():
        raise DataError(
            f"{name} is no folder, no shipped model and no shipped SAE.", "codi-int list names what is there."
        )
    raise DataError(
        f"{folder} is neither a model nor an SAE nor a kept run: no {SETTINGS}, {SAE_CONFIG} or {MANIFEST}.",
        "Give another folder; an official checkpoint has to be saved first: load_model(FOLDER).save(OTHER).",
    )


def _is_model(name: str) -> bool:
    """Whether it is a shipped model or a folder of one; a hub's name is not asked for."""
    return name in shipped_models() or is_native_format(Path(name).expanduser())


def _pack_model(name: str, repository: str, license: str | None) -> Parcel:
    model, folder = load_model(name), find_folder(name, CHECKPOINT_FILES)
    found = {path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()}
    files = tuple((path.name, path) for path in sorted(found))
    card = model_card(model, read_quietly(folder / "card.json"), repository, license)
    return Parcel("model", files, card, (("model", model.sha256),))


def _folder_of(name: str) -> str:
    """The folder of a single SAE in the repository: its site."""
    site = site_noted(name)
    if site is None:
        raise DataError(
            f"{name} does not say at which site it was trained, and that is its folder in the repository.",
            f"Note it: codi-int sae import {name} --layer L --position P --out FOLDER",
        )
    return site.replace(":", "_")


def _pack_saes(named: Mapping[str, str], place: Path, repository: str, license: str | None) -> Parcel:
    """SAEs by the folder that each has in the repository."""
    files: list[tuple[str, Path]] = []
    hashes: dict[str, str] = {}
    facts: dict[str, dict[str, Any]] = {}
    for own, name in named.items():
        sae = load_sae(name)
        written = save_sae(sae, place / own)
        files += [(f"{own}/{file}", written / file) for file in (SAE_CONFIG, WEIGHTS_FILE)]
        hashes[own], facts[own] = sae.sha256, sae_facts(about_sae(written))
    card = sae_card(facts, repository, license)
    return Parcel("SAEs", tuple(files), card, tuple(hashes.items()), tuple(facts.items()))


def _pack_run(folder: Path, repository: str, license: str | None) -> Parcel:
    kept = read_kept(folder)
    assert kept is not None
    if not kept.finished:
        raise DataError(f"{folder} holds a run that did not end.", "Give its command again, which goes on there.")
    names = [*dict.fromkeys([*kept.files, MANIFEST])]
    files = tuple((name, folder / name) for name in names if (folder / name).is_file() and name != README)
    return Parcel("run", files, run_card(folder, kept.words, [name for name, _ in files], license))


def pull(repository: str, out: str | Path, *, revision: str | None = None, force: bool = False) -> Transfer:
    """Download a model, SAEs or a kept run into a folder, and look whether it is whole.

    Args:
        repository: owner and name.
        out: the folder; one that was begun is gone on with.
        revision: a branch, tag or commit; None for the newest.
        force: write into a folder that holds something else.

    Raises:
        ConfigError: a name without an owner, no such repository or revision.
        DataError: a repository of something else, or files that are not whole.
        OutputError: no hub to be reached, or a folder that holds something else.
    """
    from huggingface_hub import HfApi, snapshot_download

    check_name(repository)
    folder = Path(out).expanduser()
    if folder.exists() and not force and any(folder.iterdir()) and not (folder / HALF).is_dir():
        raise OutputError(
            f"{folder} holds files already.", "Give another folder, or add --force to write into this one."
        )
    api = HfApi(library_name="codi-int")
    with explain_hub(repository):
        repo_type, commit = _find(api, repository, revision)
        names = api.list_repo_files(repository, repo_type=repo_type, revision=commit)
        kind = _kind_of(repository, names)
        prepare_folder(folder)
        with explain_output_errors(folder):
            snapshot_download(repository, repo_type=repo_type, revision=commit, local_dir=str(folder))
    _remove_marks(folder)
    return Transfer(
        kind=kind,
        repository=repository,
        revision=commit,
        url=str(folder),
        files=tuple(names),
        sha256=_checked(kind, folder),
    )


def _find(api: Any, repository: str, revision: str | None) -> tuple[str, str]:
    """As what it is known there, and its commit."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return "model", api.repo_info(repository, revision=revision).sha
    except RepositoryNotFoundError:
        # of either kind there may be one of this name; models come first, as the hub's own addresses have them
        return "dataset", api.repo_info(repository, revision=revision, repo_type="dataset").sha


def _kind_of(repository: str, names: Sequence[str]) -> Kind:
    """What a repository holds; DataError for something else, and for names that lead out of a folder."""
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise DataError(f"{repository} names a file {name!r}, outside its folder.", "Do not use this repository.")
    if SETTINGS in names and PROJECTION in names:
        return "model"
    if any(PurePosixPath(name).name == SAE_CONFIG for name in names):
        return "SAEs"
    if MANIFEST in names:
        return "run"
    raise DataError(
        f"{repository} holds no model, SAE or run of this package: no {SETTINGS}, {SAE_CONFIG} or {MANIFEST}.",
        "An official checkpoint needs no pull: load_model and --model take its hub name.",
    )


def _checked(kind: Kind, folder: Path) -> tuple[tuple[str, str], ...]:
    """The hashes of what came, loaded whole."""
    if kind == "model":
        return (("model", load_model(folder).sha256),)
    if kind == "run":
        if read_kept(folder) is None:
            raise DataError(f"{folder} holds no run after all.", "Do not use this repository.")
        return ()
    # one alone may lie at the top
    top = [folder] if (folder / SAE_CONFIG).is_file() else []
    return tuple((str(path.relative_to(folder)), load_sae(path).sha256) for path in [*top, *saes_below(folder)])


def _remove_marks(folder: Path) -> None:
    """What a download keeps of itself, to go on after a stop."""
    import shutil

    shutil.rmtree(folder / HALF, ignore_errors=True)
    if (folder / HALF).parent.is_dir() and not any((folder / HALF).parent.iterdir()):
        (folder / HALF).parent.rmdir()


@contextmanager
def explain_hub(repository: str, writing: bool = False) -> Iterator[None]:
    """Errors of the hub's library in two lines of ours."""
    from huggingface_hub import constants, errors

    try:
        yield
    except CodiError:
        raise
    except errors.RevisionNotFoundError:
        rule = f"{repository} has no such revision."
        raise ConfigError(rule, "Give a branch, tag or commit, or leave it out.") from None
    except errors.RepositoryNotFoundError:
        rule = f"The hub has no repository {repository} that is to be seen from here."
        raise ConfigError(rule, "Check the name; for one that is private, set HF_TOKEN or run: hf auth login") from None
    except errors.HfHubHTTPError as error:
        raise _answered(error, repository, writing) from None
    except errors.HFValidationError as error:
        raise ConfigError(f"{repository!r} is no name of a repository: {error}", "Write OWNER/NAME.") from None
    except ValueError as error:  # the hub has looked at the card's head
        raise ConfigError(f"The hub does not take the card: {error}", "Give --license in the hub's words.") from None
    except RuntimeError as error:
        raise OutputError(f"The hub did not take all of it: {error}", "Give the same command again.") from None
    except Exception as error:
        # the client's own errors of the network, whichever library it sends with; anything else is no business of ours
        if not isinstance(error, OSError | errors.OfflineModeIsEnabled) and "httpx" not in type(error).__module__:
            raise
        raise OutputError(
            f"The hub at {constants.ENDPOINT} could not be reached ({type(error).__name__}).",
            "Check the network, HF_ENDPOINT and HF_HUB_OFFLINE, and give the same command again.",
        ) from None


def _answered(error: Any, repository: str, writing: bool) -> CodiError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        what = "write to" if writing else "read"
        return ConfigError(f"The hub does not let this token {what} {repository} ({status}).", NO_TOKEN)
    words = str(getattr(error, "server_message", None) or "").strip() or f"status {status}"
    return OutputError(f"The hub refused {repository}: {words}.", "Give the same command again later.")
