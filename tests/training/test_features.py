import numpy as np

from medtransfer.data.loaders import Loader
from medtransfer.evaluation.transferability import transfer_score
from medtransfer.training.features import FeatureTask, score_source
from medtransfer.training.inference import predict
from medtransfer.training.task import SupervisedTask


def test_one_pass_gives_the_probabilities_of_the_task_and_the_features_they_come_from(data, engine, toys):
    loader = Loader(data, data.rows("train"), batch_size=5, crop=toys.crop, seed=0, train=False)
    model = toys.net()
    found, plain = predict(FeatureTask(model), loader, engine), predict(SupervisedTask(model), loader, engine)
    np.testing.assert_array_equal(found["probability"], plain["probability"])
    assert found["features"].shape == (len(loader.rows), model.width)
    logits = found["features"] @ model.head.weight.detach().numpy().T + model.head.bias.detach().numpy()
    np.testing.assert_allclose(
        np.log(found["probability"]), logits - np.logaddexp.reduce(logits, 1)[:, None], atol=1e-5
    )


def test_a_source_is_scored_by_its_own_probabilities_unless_it_has_none(data, engine, toys):
    loader = Loader(data, data.rows("train"), batch_size=5, crop=toys.crop, seed=0, train=False)
    model = toys.net()
    found = predict(FeatureTask(model), loader, engine)
    parts = found["features"], found["target"], found["probability"]
    assert score_source(model, loader, engine) == transfer_score(*parts, classes=2)
    without = score_source(model, loader, engine, unavailable="no head")
    assert (without.leep_nats, without.unavailable) == (None, "no head")
    assert without.logme == transfer_score(*parts, classes=2).logme
