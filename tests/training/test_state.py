import errno

import pytest
import torch
from safetensors import SafetensorError

from medtransfer import cli
from medtransfer.errors import CheckpointError
from medtransfer.training import state
from medtransfer.training.state import load_state, optimizer_tensors, restore_optimizer, save_state, snapshot


def saved(folder, *steps):
    for step in steps:
        save_state(folder, step, {"a": torch.full((3,), float(step))}, {"step": step})


def test_what_was_saved_comes_back(tmp_path):
    assert load_state(tmp_path) is None
    odd = torch.arange(12.0).reshape(1, 2, 3, 2).to(memory_format=torch.channels_last)
    save_state(tmp_path, 4, {"odd": odd, "tied": odd, "scalar": torch.tensor(2.5, dtype=torch.float64)}, {"x": [1]})
    tensors, scalars, remarks = load_state(tmp_path)
    assert torch.equal(tensors["odd"], odd)
    assert torch.equal(tensors["tied"], odd)
    assert tensors["scalar"].item() == 2.5
    assert (scalars, remarks) == ({"x": [1]}, [])


def test_two_generations_are_kept(tmp_path):
    saved(tmp_path, 1, 2, 3)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["state-2.safetensors", "state-3.safetensors", "state.json"]


def test_a_step_that_is_done_again_keeps_the_generation_before_it(tmp_path):
    saved(tmp_path, 1, 2, 2)
    (tmp_path / "state-2.safetensors").write_bytes(b"torn")
    tensors, scalars, remarks = load_state(tmp_path)
    assert (tensors["a"][0].item(), scalars["step"], len(remarks)) == (1.0, 1, 1)


def test_a_damaged_commit_file_is_refused(tmp_path):
    saved(tmp_path, 1)
    (tmp_path / "state.json").write_text('{"newest": ')
    with pytest.raises(CheckpointError, match=r"state.json: damaged, expected JSON; delete the folder"):
        load_state(tmp_path)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")],
    ids=["python", "library"],
)
def test_a_full_disk_leaves_the_resume_file_before_it(tmp_path, monkeypatch, error):
    saved(tmp_path, 1)

    def full(tensors, path):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(state, "save_file", full)
    with pytest.raises(CheckpointError, match=r"state-2.safetensors: cannot be written \(.*No space.*\); free disk"):
        saved(tmp_path, 2)
    assert load_state(tmp_path)[1] == {"step": 1}
    assert sorted(f.name for f in tmp_path.iterdir()) == ["state-1.safetensors", "state.json"]


def test_a_full_disk_ends_the_command_with_one_line_and_code_2(tmp_path, monkeypatch, capsys):
    def full(tensors, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    class Stage:
        run = staticmethod(lambda options: saved(tmp_path, 2))

    monkeypatch.setattr(state, "save_file", full)
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: Stage)
    assert cli.run(["gate"]) == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert said.count("\n") == 1


def test_the_state_of_an_optimiser_comes_back_in_the_layout_of_its_parameters():
    def build():
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))
        gamma = torch.nn.Parameter(torch.zeros(()))
        return weight, torch.optim.Adam([weight, gamma], lr=0.1), gamma

    weight, optimizer, gamma = build()
    ((weight**2).sum() + gamma).backward()
    optimizer.step()
    other, restored, _ = build()
    restore_optimizer(restored, {k: v.contiguous() for k, v in optimizer_tensors(optimizer).items()})
    before, after = optimizer_tensors(optimizer), optimizer_tensors(restored)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert restored.state[other]["exp_avg"].stride() == other.stride()


def test_a_snapshot_does_not_follow_the_module():
    layer = torch.nn.Linear(2, 2)
    kept = snapshot(layer)
    layer.weight.data.zero_()
    assert kept["weight"].abs().sum() > 0


@pytest.mark.parametrize(("option", "device"), [({"fused": True}, "meta"), ({"capturable": True}, "meta"), ({}, "cpu")])
def test_a_step_count_is_where_torch_keeps_it(option, device):
    parameter = torch.nn.Parameter(torch.empty(3, device="meta"))
    optimizer = torch.optim.AdamW([parameter])
    optimizer.param_groups[0] |= option
    restore_optimizer(optimizer, {"optimizer.0.step": torch.tensor(4.0), "optimizer.0.exp_avg": torch.ones(3)})
    assert optimizer.state[parameter]["step"].device.type == device
    assert optimizer.state[parameter]["exp_avg"].device.type == "meta"
