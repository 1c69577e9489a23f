import multiprocessing

import pytest
import torch
from torch import distributed

from medtransfer.errors import ConfigError
from medtransfer.ssl.queue import KeyQueue, check_queue


def rows(values):
    return torch.tensor(values, dtype=torch.float32)[:, None].expand(-1, 2)


def test_the_oldest_keys_are_overwritten_first():
    queue = KeyQueue(4, 2)
    for first in (0, 2, 4):
        queue.push(rows([first, first + 1]), torch.tensor([10 + first, 11 + first]), gather=False)
    assert queue.keys[:, 0].tolist() == [4, 5, 2, 3]
    assert queue.owner.tolist() == [14, 15, 12, 13]
    assert int(queue.pointer) == 2


def test_empty_places_and_the_querys_own_image_are_no_negatives():
    queue = KeyQueue(4, 2)
    queue.push(rows([1, 2]), torch.tensor([7, 8]), gather=False)
    own = queue.own(torch.tensor([8, 9]))
    assert own.tolist() == [[False, True, True, True], [False, False, True, True]]


def test_the_state_dict_holds_the_whole_queue():
    queue, other = KeyQueue(4, 2), KeyQueue(4, 2)
    queue.push(rows([1, 2]), torch.tensor([7, 8]), gather=False)
    other.load_state_dict(queue.state_dict())
    assert sorted(queue.state_dict()) == ["keys", "owner", "pointer"]
    assert torch.equal(other.own(torch.tensor([8])), queue.own(torch.tensor([8])))
    assert int(other.pointer) == 2


@pytest.mark.parametrize(("size", "images", "batch"), [(512, 425, 256), (300, 425, 256), (64, 40, 32)])
def test_a_queue_that_does_not_fit_is_refused_with_the_largest_that_does(size, images, batch):
    advice = f"ssl.queue is {size}, .* batch size \\({batch}\\) .* images \\({images}\\): set queue to"
    with pytest.raises(ConfigError, match=advice):
        check_queue(size, images=images, batch_size=batch)


def test_more_keys_a_step_than_images_asks_for_a_smaller_batch():
    with pytest.raises(ConfigError, match="set batch_size to 20 or less"):
        check_queue(64, images=20, batch_size=64)


def test_a_queue_as_long_as_the_training_set_is_accepted():
    check_queue(64, images=64, batch_size=32)


def push_from(rank, port, results):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    queue = KeyQueue(4, 2)
    queue.push(rows([rank, rank + 10]), torch.tensor([rank, rank + 10]), gather=True)
    results.put((rank, queue.keys[:, 0].tolist(), queue.owner.tolist()))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_hold_the_same_queue_in_rank_order():
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    port = 29500 + multiprocessing.current_process().pid % 1000
    workers = [context.Process(target=push_from, args=(rank, port, results)) for rank in (0, 1)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert {tuple(keys) for _, keys, _ in answers} == {(0.0, 10.0, 1.0, 11.0)}
    assert {tuple(owner) for _, _, owner in answers} == {(0, 10, 1, 11)}
