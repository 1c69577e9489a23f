"""Candidates of a comparison as data: a network, its ATTN layers, its cut, and the weights that it starts from."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from medtransfer.config import Config, Name
from medtransfer.errors import ConfigError
from medtransfer.files import sha256_file
from medtransfer.models.insertion import AttentionConfig
from medtransfer.models.networks import AnyNetwork, network_config

RANDOM = "random"
REGISTERED = "models:/"
STRIDE_OF_CUT = 16
"""The default cut keeps what works on maps of this stride: about a fifth of the parameters of a light network."""
_NAME = re.compile(r"(?P<network>.+?)(?:_attn(?P<attention>\d+))?(?:_to_(?P<cut>.+))?")


class Candidate(Config):
    """One network and its start.

    Attributes:
        network: a name of ``models/networks.py``, without cut.
        attention: number of inserted ATTN layers.
        cut: the block after which it ends; empty leaves it whole.
        start: ``random``; a file of weights (timm's state dict); the folder of a fit's weights; ``models:/…``.
    """

    network: Name
    attention: Literal[0, 1, 5] = 0
    cut: str = ""
    start: str = RANDOM

    @property
    def variant(self) -> str:
        """What is trained: ``tf_efficientnet_lite0_attn5_to_blocks.4``."""
        layers = f"_attn{self.attention}" if self.attention else ""
        return f"{self.network}{layers}" + (f"_to_{self.cut}" if self.cut else "")

    @property
    def condition(self) -> str:
        """From what it starts, as a plain name: ``random``, ``imagenet``, ``covid-ct-champion``."""
        if self.start.startswith(REGISTERED):
            return _plain(self.start.removeprefix(REGISTERED))
        path = Path(self.start)
        if path.suffix in (".safetensors", ".pth", ".pt"):
            return _plain(path.stem.removeprefix(f"{self.network}.")) or "file"
        return _plain("-".join(path.parts[-2:]))

    @property
    def name(self) -> str:
        """Variant and start in one name, as ``--candidate`` takes it."""
        return f"{self.variant}@{self.condition}"

    @property
    def structure(self) -> AnyNetwork:
        """The configuration of the network."""
        config = network_config(f"{self.network}_to_{self.cut}" if self.cut else self.network)
        if not self.attention:
            return config
        if config.kind != "timm":
            raise ConfigError(f"candidate {self.variant}: only timm's networks take ATTN layers; drop _attn")
        return config.model_copy(update={"attention": AttentionConfig(count=self.attention)})


def parse(text: str, weights: Path) -> Candidate:
    """Read ``<network>[_attn<N>][_to_<block>][@<start>]``; without a start its file in ``weights``, else random.

    Raises:
        ConfigError: the name has another form.
    """
    name, _, start = text.partition("@")
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigError(f"candidate {text!r}: expected <network>[_attn<N>][_to_<block>][@<start>]")
    parts: dict[str, Any] = {key: value for key, value in match.groupdict().items() if value is not None}
    parts |= {"attention": int(parts["attention"])} if "attention" in parts else {}
    return _candidate({**parts, "start": start or _at_hand(parts["network"], weights)}, text)


def read(source: str, weights: Path) -> list[Candidate]:
    """Return candidates from a YAML file (a list of names or mappings), or of a text of names with commas between.

    Raises:
        ConfigError: the file is absent or no list, or a candidate is not valid.
    """
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        return distinct([parse(name.strip(), weights) for name in source.split(",")])
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a readable YAML file ({error}); expected a list of candidates") from error
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: expected a list of candidates, such as - {{network: resnet18, start: random}}")
    return distinct([parse(e, weights) if isinstance(e, str) else _candidate(e, str(path)) for e in entries])


def defaults(weights: Path) -> list[Candidate]:
    """Return what the weights at hand allow: every network whole; the lightest also from random weights, and cut.

    Raises:
        ConfigError: there are no weights.
    """
    files = sorted(weights.glob("*.safetensors"), key=lambda file: (file.stat().st_size, file.name))
    if not files:
        raise ConfigError(
            f"{weights}: no weights (<network>.<tag>.safetensors) to start from; put timm's state dicts there, name "
            "another folder with --weights, or give --candidates"
        )
    whole = [_candidate({"network": file.name.partition(".")[0], "start": str(file)}, file.name) for file in files]
    light = whole[0]
    cut = default_cut(light)
    return distinct(
        [
            *whole,
            *([light.model_copy(update={"cut": cut})] if cut else []),
            light.model_copy(update={"start": RANDOM}),
        ]
    )


def default_cut(candidate: Candidate) -> str:
    """Return the last block of a network that has maps of stride 16; empty where there is none."""
    from medtransfer.models.backbones import survey
    from medtransfer.models.classifier import build_network
    from medtransfer.models.truncate import cuts

    trunk = build_network(candidate.structure, classes=2, seed=0).trunk
    strides, possible = survey(trunk), cuts(trunk)
    blocks = [name for name in possible if name in strides and strides[name].stride == STRIDE_OF_CUT]
    if not blocks:
        return ""
    stage = blocks[-1].rpartition(".")[0]
    return stage if stage in possible and possible.index(stage) == possible.index(blocks[-1]) + 1 else blocks[-1]


def distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates after checking that each has a name of its own.

    Raises:
        ConfigError: two have one name, or there is none.
    """
    names = [candidate.name for candidate in candidates]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice or not names:
        raise ConfigError(f"candidates: {twice or 'none'}, expected one at least, each once; correct --candidates")
    return list(candidates)


def weights_of(candidate: Candidate) -> Path | None:
    """Return the file or folder with a candidate's weights, fetched if they are registered; None for random ones.

    Raises:
        ConfigError: it does not exist.
    """
    if candidate.start == RANDOM:
        return None
    if candidate.start.startswith(REGISTERED):
        from medtransfer.tracking.fetching import fetch_model

        return fetch_model(candidate.start)
    path = Path(candidate.start)
    if not path.exists():
        raise ConfigError(f"candidate {candidate.variant}: no weights at {path}; correct its start, or use random")
    return path


def start_hash(weights: Path | None) -> str:
    """Return the SHA-256 of the weights that a candidate starts from; empty for random ones."""
    if weights is None:
        return ""
    return sha256_file(weights / "model.safetensors" if weights.is_dir() else weights)


def _at_hand(network: str, weights: Path) -> str:
    files = sorted(weights.glob(f"{network}.*safetensors"))
    return str(files[0]) if files else RANDOM


def _candidate(values: object, where: str) -> Candidate:
    try:
        candidate = Candidate.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"candidate {where}: {'.'.join(map(str, first['loc']))}: {first['msg']} (found {first['input']!r})"
        ) from error
    return candidate


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", text).strip("-.") or "start"
