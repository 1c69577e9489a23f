"""The statements of West et al. 2020 as contrasts of columns; the verdicts follow from our predictions and maps."""

from collections.abc import Collection, Mapping, Sequence

from medtransfer.evaluation.cells import Key
from medtransfer.evaluation.claims import Claim, Contrast, mean_contrast
from medtransfer.studies.visual_transfer import study
from medtransfer.studies.visual_transfer.config import ColumnConfig, VisualTransferConfig
from medtransfer.studies.visual_transfer.paper.values import table1

AUROC, SHARE = "auroc", "share"
"""What a claim is about: the score on test images, or the share of Grad-CAM's heat inside the lungs."""
NEARER = "near_"
"""What the key of a claim on pretraining nearer the domain begins with."""


def key(column: str) -> Key:
    """Return the cell of a column."""
    return column, study.AGAINST_REST


def pairs(config: VisualTransferConfig, present: Collection[str], *, frozen: bool) -> list[tuple[str, str]]:
    """Return columns that differ in what their base was pretrained on alone: (nearer the domain, natural images).

    Both have the same network, layers that learn, augmentation and training.

    Args:
        config: the study's parameters.
        present: columns that have numbers; others are left out.
        frozen: columns on a frozen base, or those with all layers trained.
    """
    based = {name: one for name, one in _based(config, present).items() if one.frozen == frozen}

    def alike(first: str, second: str) -> bool:
        same = {"base": "", "paper": ""}
        one, other = based[first].model_copy(update=same), based[second].model_copy(update=same)
        networks = {config.bases[based[name].base].network for name in (first, second)}
        return one == other and len(networks) == 1

    near = {name: config.bases[one.base].near for name, one in based.items()}
    return [(a, b) for a in based for b in based if near[a] and not near[b] and alike(a, b)]


def claims(config: VisualTransferConfig, about: str, present: Collection[str]) -> list[Claim]:
    """Return the claims on test scores or on attribution about columns that are present; others have no contrast."""
    if about == SHARE:
        return _nearer(config, about, present)
    return [
        *_nearer(config, about, present),
        _transfer(config, present),
        _layers(config, present),
        _augmentation(config),
    ]


def printed(config: VisualTransferConfig) -> Mapping[Key, float]:
    """Return the paper's validation AUC of every column that stands for one of its own."""
    return {key(name): table1()[one.paper, "auc"] for name, one in config.columns.items() if one.paper}


def _nearer(config: VisualTransferConfig, about: str, present: Collection[str]) -> list[Claim]:
    end, source = {
        AUROC: ("score better", "Table 1, 3.1"),
        SHARE: ("have more of their Grad-CAM heat inside the lungs", "Fig. 1, 3.2"),
    }[about]
    result = []
    for frozen in (True, False):
        what = "a frozen base" if frozen else "all layers trained"
        found = pairs(config, present, frozen=frozen)
        names = "; ".join(f"{a} − {b}" for a, b in found)
        result.append(
            Claim(
                key=f"{NEARER}{'frozen' if frozen else 'all'}",
                statement=f"With {what}, networks pretrained nearer the domain {end}.",
                source=source,
                how=f"mean over pairs that differ in their pretraining alone: {names}",
                contrast=mean_contrast([_pair(a, b) for a, b in found]),
                unanswered="no two columns differ in their pretraining alone",
            )
        )
    return result


def _transfer(config: VisualTransferConfig, present: Collection[str]) -> Claim:
    scratch, based = _standing_for(config, "benchmark_cnn"), _based(config, present)
    return Claim(
        key="transfer",
        statement="Pretrained networks score better than the benchmark CNN.",
        source="Table 1, 3.1",
        how="mean over columns on a pretrained base − benchmark CNN",
        contrast=mean_contrast([_pair(name, scratch[0]) for name in based]) if scratch and based else {},
    )


def _layers(config: VisualTransferConfig, present: Collection[str]) -> Claim:
    based = _based(config, present)
    found = [
        (a, b)
        for a, one in based.items()
        for b, other in based.items()
        if one.base == other.base and not one.frozen and other.frozen
    ]
    return Claim(
        key="layers",
        statement="Training all layers scores better than training the head alone.",
        source="Table 1",
        how="mean over bases of all layers − frozen base",
        contrast=mean_contrast([_pair(a, b) for a, b in found]),
    )


def _augmentation(config: VisualTransferConfig) -> Claim:
    both = [_standing_for(config, row) for row in ("benchmark_cnn", "benchmark_no_augmentation")]
    return Claim(
        key="augmentation",
        statement="Augmentation improves the benchmark CNN.",
        source="Table 1, 3.1",
        how="benchmark CNN − benchmark CNN without augmentation",
        contrast=_pair(both[0][0], both[1][0]) if all(both) else {},
    )


def _based(config: VisualTransferConfig, present: Collection[str]) -> dict[str, ColumnConfig]:
    return {name: one for name, one in config.columns.items() if one.base and name in present}


def _standing_for(config: VisualTransferConfig, row: str) -> Sequence[str]:
    return [name for name, one in config.columns.items() if one.paper == row]


def _pair(first: str, second: str) -> Contrast:
    return {key(first): 1.0, key(second): -1.0}
