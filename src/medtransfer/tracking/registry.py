"""The model registry: the champion's weights, stored once, as safetensors and a config, with the hash of both."""

import re
import tempfile
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import medtransfer
from medtransfer.errors import ModelError, TrackingError
from medtransfer.files import read_json, sha256_file
from medtransfer.paths import fetched_model, workspace
from medtransfer.tracking.columns import head_columns
from medtransfer.tracking.mlflow_tracker import import_run
from medtransfer.tracking.names import check_key, check_model_name
from medtransfer.tracking.promotions import promote
from medtransfer.tracking.store import client

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_SHA = {WEIGHTS: "sha256", CONFIG: "config_sha256"}
_PACKAGES = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pyarrow",
    "pydantic",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
)
_EXAMPLE_SIDE = 32


def register_model(
    weights_folder: Path,
    *,
    records: Path,
    name: str = "covid-ct",
    tags: Mapping[str, str] | None = None,
    alias: str = "champion",
    why: str = "best validation AUROC",
    uri: str | None = None,
) -> int:
    """Register a fit's weights and give them an alias; return the version. The same weights and config are one version.

    The version carries the tags ``sha256``, ``config_sha256``, ``audit=none yet`` (unless ``tags`` says otherwise) and
    ``tags``; its input example is a drawn grey ramp, never a patient's image.

    Args:
        weights_folder: ``model.safetensors`` and ``config.json``.
        records: The record of the run that made them; imported when the store lacks the run.
        name: Registered model.
        tags: Network, chain, validation AUROC and whatever else filters should find.
        alias: Alias to move to this version.
        why: Reason, for the promotion log.
        uri: Tracking address.

    Raises:
        ModelError: a file is missing, the config lacks heads or preprocessing, or a head was never trained.
        GateClosed: the version exists and a gate tag forbids the alias.
    """
    check_model_name(name)
    check_model_name(alias)
    for key in tags or {}:
        check_key(key)
    hashes = _hashes(weights_folder)
    config = _read_config(weights_folder)
    run_id = import_run(records, uri=uri)
    store = client(uri)
    existing = _find_version(store, name, hashes)
    every = {"audit": "none yet", **(tags or {}), **hashes}
    version = existing or _create_version(store, weights_folder, config, name=name, run_id=run_id, tags=every)
    if int(_aliases(store, name).get(alias, 0)) != version:
        promote(name, version, alias, why, uri=uri)
    return version


def fetch_model(model: str, *, folder: Path | None = None, uri: str | None = None) -> Path:
    """Download a registered model's weights and config and return their folder.

    Args:
        model: ``models:/<name>@<alias>`` or ``models:/<name>/<version>``.
        folder: Where to put them; ``.scratch/models/<name>-<version>`` of the workspace by default.
        uri: Tracking address.

    Example:
        network, description = load_model(fetch_model("models:/covid-ct@champion"))

    Raises:
        TrackingError: no such model, or the bytes are not those that were registered.
    """
    name, alias, version = _address(model)
    store = client(uri)
    entry = _resolve(store, model, name, alias, version)
    target = folder or workspace() / fetched_model(name, int(entry.version))
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".part-") as staged:
        for file, tag in _SHA.items():
            local = _download(store, entry, file, Path(staged))
            if sha256_file(local) != entry.tags.get(tag):
                raise TrackingError(
                    f"{model}: {file} is not the registered file (its SHA-256 differs): register the model again"
                )
            local.replace(target / file)
    return target


def _create_version(
    store: Any, folder: Path, config: Mapping[str, Any], *, name: str, run_id: str, tags: Mapping[str, str]
) -> int:
    """Store the model once, as a logged model of its run, and make a version that points to it."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    run = store.get_run(run_id)
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary) / "model"
        _save(saved, folder, config)
        logged = store.create_logged_model(run.info.experiment_id, name, source_run_id=run_id, tags=dict(tags))
        store.log_model_artifacts(logged.model_id, str(saved))
    store.finalize_logged_model(logged.model_id, "READY")
    store.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    try:
        store.create_registered_model(name)
    except MlflowException:
        store.get_registered_model(name)  # it exists; anything else fails here
    # a database store would look a models:/ address up in MLflow's global store, a server takes nothing else
    served = urlsplit(store.tracking_uri).scheme.startswith("http")
    source = f"models:/{logged.model_id}" if served else logged.artifact_location
    made = store.create_model_version(name, source, run_id, tags=dict(tags), model_id=logged.model_id)
    return int(made.version)


def _save(path: Path, folder: Path, config: Mapping[str, Any]) -> None:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, Schema, TensorSpec

    channels = config["preprocessing"]["channels"]
    columns = []
    for head in head_columns(config["heads"], where=str(folder)).values():
        columns += [ColSpec("string", head.label)] if head.label else []
        columns += [ColSpec("double", score) for score in head.scores]
    images = TensorSpec(np.dtype("uint8"), (-1, channels, -1, -1))
    ramp = np.linspace(0, 255, _EXAMPLE_SIDE, dtype=np.uint8)
    save_model(
        path,
        python_model=str(Path(__file__).with_name("serving.py")),
        artifacts={"weights": str(folder / WEIGHTS), "config": str(folder / CONFIG)},
        code_paths=[str(Path(medtransfer.__file__).parent)],
        signature=ModelSignature(Schema([images]), Schema(columns)),
        input_example=np.broadcast_to(ramp, (1, channels, _EXAMPLE_SIDE, _EXAMPLE_SIDE)).copy(),
        pip_requirements=[f"{package}=={installed(package)}" for package in _PACKAGES],
    )
    _forget_machine_paths(path / "MLmodel")


def _forget_machine_paths(file: Path) -> None:
    """Replace the folders of this machine in ``MLmodel`` by what loading uses: names relative to the model."""
    import yaml

    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    function = content["flavors"]["python_function"]
    function["model_code_path"] = Path(function["model_code_path"]).name
    for artefact in function["artifacts"].values():
        artefact["uri"] = artefact["path"]
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _download(store: Any, version: Any, file: str, staged: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    source = store.get_model_version_download_uri(version.name, version.version)
    try:
        path = download_artifacts(
            artifact_uri=f"{source}/artifacts/{file}", dst_path=str(staged), tracking_uri=store.tracking_uri
        )
        return Path(path)
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"{version.name} version {version.version}: {file} cannot be downloaded: register the model again"
        ) from error


def _address(model: str) -> tuple[str, str | None, str | None]:
    """Return the name, and the alias or the version, of a model's address."""
    match = re.fullmatch(r"models:/([^@/]*)(?:@(.*)|/([0-9]{1,9}))", model)
    if match is None:
        raise TrackingError(f"{model!r} names no model: write models:/<name>@<alias> or models:/<name>/<version>")
    name, alias, version = match.groups()
    check_model_name(name)
    if alias is not None:
        check_model_name(alias)
    return name, alias, version


def _resolve(store: Any, model: str, name: str, alias: str | None, version: str | None) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return store.get_model_version_by_alias(name, alias) if alias else store.get_model_version(name, version)
    except MlflowException as error:
        raise TrackingError(
            f"{model}: no such registered model: run the register stage, or correct the name"
        ) from error


def _find_version(store: Any, name: str, hashes: Mapping[str, str]) -> int:
    """Return the version with these hashes, 0 when there is none."""
    for version in store.search_model_versions(f"name = '{name}'"):
        if all(version.tags.get(key) == value for key, value in hashes.items()):
            return int(version.version)
    return 0


def _aliases(store: Any, name: str) -> dict[str, str]:
    return dict(store.get_registered_model(name).aliases)


def _hashes(folder: Path) -> dict[str, str]:
    for file in _SHA:
        if not (folder / file).is_file():
            raise ModelError(f"{folder}: no {file}, expected the weights of a finished fit: run its stage")
    return {tag: sha256_file(folder / file) for file, tag in _SHA.items()}


def _read_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = read_json(folder / CONFIG)
    if missing := [key for key in ("heads", "preprocessing") if not config.get(key)]:
        raise ModelError(f"{folder / CONFIG}: lacks {', '.join(missing)}: run the stage that writes it again")
    head_columns(config["heads"], where=str(folder))
    return config
