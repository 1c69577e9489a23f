import pytest
import torch
from pydantic import ValidationError
from torch import nn

from medtransfer.errors import ConfigError
from medtransfer.losses.contrastive import info_nce
from medtransfer.ssl.base import unit
from medtransfer.ssl.moco import MoCoConfig, momentum_branch

CHANNELS = 16


class NormOnly(nn.Module):
    """Batch norm alone: the features of an empty image are nothing but the statistics of its company."""

    width = CHANNELS

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(CHANNELS)

    def features(self, x):
        return self.norm(x).mean(dim=(2, 3))


def norm_only_pairs(*, steps=320, batch=64, **config):
    """Return unit queries and keys [steps, CHANNELS] of training steps, which carry only what batch norm adds to them.

    One image of each step is empty in both views, so its query and key tell nothing but the company's statistics.
    """
    torch.manual_seed(3)
    encoder = NormOnly()
    branch = momentum_branch(MoCoConfig(dim=CHANNELS, queue=batch, **config), encoder, images=batch, batch_size=batch)
    for head in (branch.head, branch.key_head):
        nn.init.eye_(head.weight)
        nn.init.zeros_(head.bias)
    encode, pairs = branch.encode, []
    branch.encode = lambda *given: pairs.append(encode(*given)) or pairs[-1]
    queries, keys = [], []
    for _ in range(steps):
        batch_images = torch.randn(batch, CHANNELS, 1, 1)
        place = int(torch.randint(batch, ()))
        batch_images[place] = 0
        branch(encoder, {"query": batch_images, "key": batch_images, "index": torch.arange(batch)})
        query, key = pairs[-1]
        queries.append(query[place].detach())
        keys.append(key[place])
    return torch.stack(queries), torch.stack(keys)


def identified(*, candidates=16, **config):
    """Share of steps whose right key is the most alike among the keys of other steps."""
    queries, keys = norm_only_pairs(**config)
    alike = queries.unflatten(0, (-1, candidates)) @ keys.unflatten(0, (-1, candidates)).mT
    right = alike.argmax(dim=2) == torch.arange(candidates)
    return float(right.float().mean())


def nearer_than_the_last(**config):
    """Share of steps whose right key is more alike than the key of the step before, a negative of the queue.

    Moving averages tie the keys of neighbouring steps to each other, so that the most alike of many is not uniform even
    for a query that knows nothing; of two it is, since an independent query is as likely as its opposite.
    """
    queries, keys = norm_only_pairs(**config)
    right, wrong = (queries[2:] * keys[2:]).sum(1), (queries[2:] * keys[1:-1]).sum(1)
    return float((right > wrong).float().mean())


def test_in_the_same_company_batch_norm_gives_the_right_key_away():
    assert identified(key_groups=1) == 1.0
    assert nearer_than_the_last(key_groups=1) == 1.0


def test_in_crossed_groups_batch_norm_tells_no_more_than_chance():
    chance = 1 / 16
    spread = (chance * (1 - chance) / 320) ** 0.5
    assert abs(identified(key_groups=8) - chance) < 3 * spread


@pytest.mark.parametrize("m", [0.0, 0.5, 0.999])
def test_by_moving_averages_batch_norm_tells_no_more_than_chance(m):
    spread = (0.25 / 318) ** 0.5
    assert abs(nearer_than_the_last(key_norm="moving_average", momentum=m) - 0.5) < 3 * spread


def averaged(encoder, **config):
    config = MoCoConfig(queue=6, key_norm="moving_average", **config)
    return momentum_branch(config, encoder, images=6, batch_size=6)


def test_moving_averages_follow_the_query_encoders_statistics_and_nothing_else(encoder, make_batch):
    branch, norm = averaged(encoder, momentum=0.9), encoder.net[1]
    expected = None
    for seed in range(3):
        before = branch.key_encoder.net[1].running_mean, branch.key_encoder.net[1].running_var
        now = norm.running_mean, norm.running_var
        expected = [0.9 * k + 0.1 * q for k, q in zip(before, now, strict=True)]
        branch.train()
        branch(encoder, make_batch(seed=seed))
        torch.testing.assert_close(
            [branch.key_encoder.net[1].running_mean, branch.key_encoder.net[1].running_var], expected
        )
    assert float(expected[0].abs().max()) > 0


def test_a_key_by_moving_averages_depends_on_its_image_alone(encoder, make_batch):
    branch, batch, other = averaged(encoder), make_batch(), make_batch(seed=1)
    changed = other["key"].clone()
    changed[0] = batch["key"][0]
    keys = [branch.encode(encoder, batch | {"key": key})[1] for key in (batch["key"], changed)]
    torch.testing.assert_close(keys[0][0], keys[1][0])
    assert not torch.allclose(keys[0][1], keys[1][1])
    query = branch.encode(encoder, batch)[0]
    torch.testing.assert_close(query, unit(branch.head(encoder.features(batch["query"]))))


def test_groups_beside_moving_averages_are_refused():
    with pytest.raises(ValidationError, match="key_groups is 4 with key_norm moving_average, expected null"):
        MoCoConfig(key_norm="moving_average", key_groups=4)


def test_one_group_is_one_ordinary_pass(encoder, make_batch):
    branch = momentum_branch(MoCoConfig(queue=6, key_groups=1), encoder, images=6, batch_size=6)
    batch = make_batch()
    query, key = branch.encode(encoder, batch)
    torch.testing.assert_close(query, unit(branch.head(encoder.features(batch["query"]))))
    torch.testing.assert_close(key, unit(branch.key_head(branch.key_encoder.features(batch["key"]))))


def test_grouped_features_come_back_in_the_order_of_the_batch(encoder, make_batch):
    branch = momentum_branch(MoCoConfig(queue=6), encoder, images=6, batch_size=6).eval()
    encoder.eval()
    batch = make_batch()
    query, key = branch.encode(encoder, batch)
    torch.testing.assert_close(query, unit(branch.head(encoder.features(batch["query"]))))
    torch.testing.assert_close(key, unit(branch.key_head(branch.key_encoder.features(batch["key"]))))


def test_the_key_encoder_moves_before_the_keys_are_computed(encoder, make_batch):
    branch = momentum_branch(MoCoConfig(queue=6, key_groups=1, momentum=0.0), encoder, images=6, batch_size=6)
    with torch.no_grad():
        encoder.net[0].weight.mul_(-1)
    batch = make_batch()
    branch(encoder, batch)
    # with m = 0 the keys of this very step already come from the changed weights
    expected = unit(branch.head(encoder.features(batch["key"])))
    torch.testing.assert_close(branch.queue.keys, expected.detach())


def test_the_loss_is_info_nce_against_the_queue_before_this_step(encoder, make_batch):
    branch = momentum_branch(MoCoConfig(queue=12, momentum=1.0, temperature=0.2), encoder, images=12, batch_size=6)
    branch(encoder, make_batch(first=0))
    queue, batch = branch.queue.keys.clone(), make_batch(first=3, seed=1)
    query, key = branch.encode(encoder, batch)
    own = torch.cat([torch.arange(6) == torch.arange(3, 9)[:, None], torch.ones(6, 6, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(branch(encoder, batch), info_nce(query, key, queue, temperature=0.2, own=own))


def test_evaluation_changes_no_state(encoder, make_batch):
    branch = momentum_branch(MoCoConfig(queue=6), encoder, images=6, batch_size=6)
    branch(encoder, make_batch())
    branch.eval()
    encoder.eval()
    before = {name: value.clone() for name, value in branch.state_dict().items()}
    branch(encoder, make_batch(seed=2))
    assert all(torch.equal(before[name], value) for name, value in branch.state_dict().items())


@pytest.mark.parametrize(
    ("groups", "batch", "advice"),
    [(2, 16, "set key_groups between 4 and 8"), (9, 16, "between 4 and 8"), (None, 5, "use 4, or at least 6, images")],
)
def test_groups_that_leave_a_tie_or_a_single_image_are_refused(encoder, groups, batch, advice):
    with pytest.raises(ConfigError, match=f"ssl.key_groups is . for a batch of {batch}, expected .*: .*{advice}"):
        momentum_branch(MoCoConfig(queue=batch, key_groups=groups), encoder, images=batch, batch_size=batch)


@pytest.mark.parametrize("batch", [4, *range(6, 70)])
def test_every_other_batch_finds_its_groups(encoder, batch):
    branch = momentum_branch(MoCoConfig(queue=batch), encoder, images=batch, batch_size=batch)
    assert branch.groups**2 >= batch >= 2 * branch.groups
