import numpy as np
import pytest
import torch

from medtransfer.data.loaders import Loader
from medtransfer.evaluation.transferability import transfer_score
from medtransfer.models.heads import Head
from medtransfer.training.features import score_source
from network_heads import class_heads


@pytest.fixture
def loader(data, toys):
    return Loader(data, data.rows("train"), batch_size=5, crop=toys.crop, seed=0, train=False)


@pytest.fixture
def parts(loader, toys):
    """Network, features, targets and class probabilities, all images in one pass."""
    model = toys.net().eval()
    batches = list(loader.epoch(0))
    images, target = (torch.cat([batch[key] for batch in batches]) for key in ("image", "target"))
    with torch.no_grad():
        return model, model.features(images).numpy(), target.numpy(), model(images).softmax(1).numpy()


def test_a_source_is_scored_by_its_own_probabilities_unless_it_has_none(parts, loader, engine, toys):
    model, *known = parts
    heads = class_heads(toys.classes)
    found, expected = score_source(model, heads, loader, engine), transfer_score(*known, classes=2)
    assert found.source_labels == 2
    np.testing.assert_allclose(
        [found.leep_nats, found.nce, found.logme], [expected.leep_nats, expected.nce, expected.logme], rtol=1e-5
    )
    without = score_source(model, heads, loader, engine, unavailable="no head")
    assert (without.leep_nats, without.unavailable) == (None, "no head")
    assert without.logme == found.logme


def test_findings_are_no_exclusive_source_labels(parts, loader, engine):
    heads = {"findings": Head(outputs=("edema", "mass"), activation="sigmoid", kind="probability")}
    found = score_source(parts[0], heads, loader, engine)
    assert found.leep_nats is None
    assert found.unavailable == "the source has 0 heads of exclusive classes, not one"
    assert np.isfinite(found.logme)
