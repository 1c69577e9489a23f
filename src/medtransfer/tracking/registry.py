"""The model registry: weights stored once, as safetensors and a config, with the hash of both."""

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import medtransfer
from medtransfer.errors import ModelError, TrackingError
from medtransfer.files import read_json, sha256_file, write_json
from medtransfer.tracking.columns import CALIBRATED, CALIBRATION, FILES, LUNGS, SCORE, calibrated, head_columns
from medtransfer.tracking.gates import (
    AUDIT,
    CARD,
    CONFIG,
    HASHES,
    IMAGES,
    NOT_AUDITED,
    PLACES,
    SHIFT,
    VALIDATION,
    WEIGHTS,
    checked_download,
    served_files,
)
from medtransfer.tracking.mlflow_tracker import import_run
from medtransfer.tracking.names import check_key, check_model_name
from medtransfer.tracking.refusals import refused
from medtransfer.tracking.requirements import pins
from medtransfer.tracking.store import DESCRIPTION, client
from medtransfer.tracking.tracker import DatasetInput

if TYPE_CHECKING:
    import pandas as pd

_EXAMPLE_SIDE = 32
MODEL_ID = "model_id"
"""Tag of a version with the id of its logged model."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a reader should know about a version, beside its weights.

    Attributes:
        tags: for filters: network, chain, study, the metric that chose it, what the gates need (``gates.LEAKS``, …).
        description: of the version, in words.
        card: the model card, Markdown; ``README.md`` of the model's artefacts.
        validation: its predictions on validation images, which the comparison with another version needs.
        metrics: numbers of the logged model by data set.
        temperatures: by output, fitted on validation images; the model answers with calibrated probabilities too.
        shift: file with the statistics of its training images, which tell whether a new image is like them.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    card: str = ""
    validation: "pd.DataFrame | None" = None
    metrics: Mapping[DatasetInput, Mapping[str, float]] = field(default_factory=dict)
    temperatures: Mapping[str, float] = field(default_factory=dict)
    shift: Path | None = None


NOTHING = About()


def register_model(
    weights_folder: Path, *, records: Path, name: str = "covid-ct", about: About = NOTHING, uri: str | None = None
) -> int:
    """Register a fit's weights and return the version, which has no alias yet; the same files are the same version.

    The version carries the hashes of its files and ``audit`` (*not audited* unless ``about`` says otherwise) as tags;
    its input example is a drawn grey ramp, never a patient's image. A logged model that a kill left without a version
    is used or removed.

    Args:
        weights_folder: ``model.safetensors`` and ``config.json``.
        records: the record of the run that made them; imported when the store lacks the run.
        name: registered model.
        about: what a reader should know about it.
        uri: tracking address.

    Raises:
        ModelError: a file is missing or damaged, the config lacks heads or preprocessing, or a head was never trained.
    """
    check_model_name(name)
    for key in about.tags:
        check_key(key)
    hashes = _hashes(weights_folder)
    config = _read_config(weights_folder)
    if config.get("sha256", hashes["sha256"]) != hashes["sha256"]:
        raise ModelError(f"{weights_folder / WEIGHTS}: not the file that its fit wrote: run its stage again")
    run_id = import_run(records, uri=uri)
    store = client(uri)
    with refused(store, f"{name}: the store lost the run of {records}: repeat"):
        version = _find_version(store, name, hashes, _brought(about))
        if not version:
            tags = {AUDIT: NOT_AUDITED, **about.tags, **hashes}
            version = _create_version(store, weights_folder, config, name=name, run_id=run_id, tags=tags, about=about)
        _describe(store, name, version, about)
    return version


def _create_version(
    store: Any,
    folder: Path,
    config: Mapping[str, Any],
    *,
    name: str,
    run_id: str,
    tags: Mapping[str, str],
    about: About,
) -> int:
    """Store the model once, as a logged model of its run, and make a version that points to it."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    logged = _left_by_a_kill(store, name, run_id, tags)
    if logged is None:
        run = store.get_run(run_id)
        with tempfile.TemporaryDirectory() as temporary:
            saved = Path(temporary) / "model"
            _save(saved, folder, config, about.temperatures)
            tags = {**tags, **_add_files(saved, about)}
            logged = store.create_logged_model(run.info.experiment_id, name, source_run_id=run_id, tags=tags)
            store.log_model_artifacts(logged.model_id, str(saved))
        store.finalize_logged_model(logged.model_id, "READY")
    outputs = store.get_run(run_id).outputs
    if logged.model_id not in {each.model_id for each in (outputs.model_outputs if outputs else ())}:
        store.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    try:
        store.create_registered_model(name)
    except MlflowException:
        store.get_registered_model(name)  # it exists; anything else fails here
    # a database store would look a models:/ address up in MLflow's global store, a server takes nothing else
    served = urlsplit(store.tracking_uri).scheme.startswith("http")
    source = f"models:/{logged.model_id}" if served else logged.artifact_location
    own = {key: value for key, value in logged.tags.items() if not key.startswith("mlflow.")}
    own[MODEL_ID] = logged.model_id  # a database store forgets the model_id that it is given
    made = store.create_model_version(name, source, run_id, tags=own, model_id=logged.model_id)
    return int(made.version)


def _left_by_a_kill(store: Any, name: str, run_id: str, tags: Mapping[str, str]) -> Any:
    """Return a whole logged model of these weights that no version points to, and remove unfinished ones."""
    home = store.get_run(run_id).info.experiment_id
    found = store.search_logged_models([home], f"source_run_id = '{run_id}' AND name = '{name}'")
    known = {version.tags.get(MODEL_ID) for version in store.search_model_versions(f"name = '{name}'")}
    whole = None
    for logged in found:
        if logged.model_id in known or logged.tags.get("sha256") != tags["sha256"]:
            continue
        if logged.status.value == "READY" and logged.tags.get("config_sha256") == tags["config_sha256"]:
            whole = logged
        else:
            store.delete_logged_model(logged.model_id)
    return whole


def _add_files(saved: Path, about: About) -> dict[str, str]:
    """Add card, validation predictions and statistics to a saved model; return the tags that they need."""
    if about.card:
        (saved / CARD).write_text(about.card, encoding="utf-8")
    if about.validation is not None:
        about.validation.to_parquet(saved / VALIDATION)
    if about.shift is not None:
        shutil.copyfile(about.shift, saved / SHIFT)
    files = {file: saved / PLACES.get(file, "") / file for file in (CALIBRATION, VALIDATION, SHIFT)}
    return {HASHES[file]: sha256_file(path) for file, path in files.items() if path.exists()}


def _describe(store: Any, name: str, version: int, about: About) -> None:
    """Write the description of a version and, once, the numbers of its logged model."""
    from mlflow.entities import Metric

    if about.description:
        store.update_model_version(name, str(version), about.description)
    entry = store.get_model_version(name, str(version))
    registered = json.dumps([{"name": name, "version": version}])  # so MLflow's own register_model tags a logged model
    notes = {"mlflow.modelVersions": registered, DESCRIPTION: about.description}
    store.set_logged_model_tags(entry.tags[MODEL_ID], {key: note for key, note in notes.items() if note})
    if store.get_logged_model(entry.tags[MODEL_ID]).metrics:
        return
    now = int(time.time() * 1000)
    for data, values in about.metrics.items():
        of = {"model_id": entry.tags[MODEL_ID], "dataset_name": data.name, "dataset_digest": data.digest}
        store.log_batch(entry.run_id, metrics=[Metric(key, value, now, 0, **of) for key, value in values.items()])


def _save(path: Path, folder: Path, config: Mapping[str, Any], temperatures: Mapping[str, float] | None = None) -> None:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, Schema, TensorSpec

    channels = config["preprocessing"]["channels"]
    columns, heads = [], head_columns(config["heads"], where=str(folder))
    for head in heads.values():
        columns += [ColSpec("string", head.label)] if head.label else []
        columns += [ColSpec("double", score) for score in head.scores]
    columns += [ColSpec("double", f"{CALIBRATED}{output}") for output in calibrated(heads, temperatures or {})]
    columns += [ColSpec("double", SCORE), ColSpec("string", LUNGS)] if "masks" in config["preprocessing"] else []
    # a lung mask is one more channel: MLflow knows no optional tensor
    sent = -1 if config["preprocessing"].get("masks") == FILES else channels
    # not in the signature, where MLflow would cast what is outside the contract; the gate of promotions reads it
    images = Schema([TensorSpec(np.dtype("float32"), (-1, sent, -1, -1))])
    ramp = np.linspace(0, 255, _EXAMPLE_SIDE).astype(np.uint8).astype(np.float32)
    artifacts = {"weights": str(folder / WEIGHTS), "config": str(folder / CONFIG)}
    if temperatures:
        write_json(path.with_name(CALIBRATION), dict(temperatures))
        artifacts["calibration"] = str(path.with_name(CALIBRATION))
    save_model(
        path,
        python_model=str(Path(__file__).with_name("serving.py")),
        artifacts=artifacts,
        code_paths=[str(Path(medtransfer.__file__).parent)],
        signature=ModelSignature(outputs=Schema(columns)),
        metadata={IMAGES: images.to_json()},
        input_example=np.broadcast_to(ramp, (1, channels, _EXAMPLE_SIDE, _EXAMPLE_SIDE)).copy(),
        pip_requirements=pins(),
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


def _brought(about: About) -> list[str]:
    """Return the tags of the files that come with a model; a version without them is made again with them."""
    given = {CALIBRATION: about.temperatures, VALIDATION: about.validation is not None, SHIFT: about.shift}
    return [HASHES[file] for file, there in given.items() if there]


def _find_version(store: Any, name: str, hashes: Mapping[str, str], also: Sequence[str]) -> int:
    """Return the version with these hashes and the other tags whose files are there, 0 when there is none."""
    for version in store.search_model_versions(f"name = '{name}'"):
        same = all(version.tags.get(key) == value for key, value in hashes.items())
        if same and version.tags.keys() >= {MODEL_ID, *also} and _is_there(store, version):
            return int(version.version)
    return 0


def _is_there(store: Any, version: Any) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            for file in served_files(version.tags):
                checked_download(store, version, file, Path(folder))
        except TrackingError:
            return False
    return True


def _hashes(folder: Path) -> dict[str, str]:
    for file in (WEIGHTS, CONFIG):
        if not (folder / file).is_file():
            raise ModelError(f"{folder}: no {file}, expected the weights of a finished fit: run its stage")
    return {HASHES[file]: sha256_file(folder / file) for file in (WEIGHTS, CONFIG)}


def _read_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = read_json(folder / CONFIG)
    if missing := [key for key in ("heads", "preprocessing") if not config.get(key)]:
        raise ModelError(f"{folder / CONFIG}: lacks {', '.join(missing)}: run the stage that writes it again")
    head_columns(config["heads"], where=str(folder))
    return config
