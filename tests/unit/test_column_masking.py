"""Masked-region modelling hides whole columns, and no hidden value can be read."""

from __future__ import annotations

import pytest
import torch

from genebert.column_masking import hidden_columns
from genebert.model import GeneBert, ModelConfig
from genebert.objectives import column_loss
from pretrain_toys import toy_block


def model_of(encoder, **model):
    block = toy_block(
        model={"size": "tiny", "region_encoder": encoder, **model}, objectives=["mrm"]
    )
    return GeneBert(ModelConfig.from_pretrain(block, 10), 3)


def test_as_many_columns_are_hidden_in_every_row_and_never_the_anchor():
    locus = torch.arange(500)
    hidden = hidden_columns(1, torch.zeros_like(locus), locus, 10, 0.3)
    assert hidden.shape == (500, 11)
    assert (hidden.sum(dim=1) == 3).all()
    assert not hidden[:, 5].any()
    share = hidden.float().mean(dim=0)
    assert float(share[[0, 1, 2, 3, 4, 6, 7, 8, 9, 10]].min()) > 0.2
    other = hidden_columns(1, torch.ones_like(locus), locus, 10, 0.3)
    assert not torch.equal(hidden, other)
    part = hidden_columns(1, torch.zeros(3, dtype=torch.int64), locus[7:10], 10, 0.3)
    assert torch.equal(part, hidden[7:10])  # of (seed, epoch, locus) alone


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_something_is_hidden_and_something_is_not(fraction):
    hidden = hidden_columns(1, torch.zeros(4, dtype=torch.int64), torch.arange(4), 4, fraction)
    assert set(hidden.sum(dim=1).tolist()) <= {1, 3}


@pytest.mark.parametrize("encoder", ["swin", "transformer"])
@pytest.mark.parametrize("model", [{}, {"patch": [2, 2]}, {"cell_state": True}])
def test_no_hidden_value_nor_the_anchor_reaches_a_prediction(encoder, model):
    net = model_of(encoder, **model).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    matrix = torch.rand(3, 11, 7)
    state = torch.rand(3, 11) if model.get("cell_state") else None
    hidden = torch.zeros(3, 7, dtype=torch.bool)
    hidden[:, 1] = hidden[:, 6] = True
    found = net.predict_columns(matrix, hidden, state)
    assert found.shape == matrix.shape
    changed = matrix.clone()
    changed[:, :, [1, 3, 6]] = torch.rand(3, 11, 3) * 9
    assert torch.equal(net.predict_columns(changed, hidden, state), found)
    changed = matrix.clone()
    changed[:, :, 2] += 1
    assert not torch.allclose(net.predict_columns(changed, hidden, state), found)


def test_the_loss_is_that_of_hidden_columns_alone():
    matrix = torch.rand(2, 5, 3)
    hidden = torch.tensor([[True, False, False], [True, False, True]])
    found = matrix.clone()
    found[:, :, 1] += 100
    assert column_loss(found, matrix, hidden).tolist() == [0, 0]
    found[1, :, 2] += 2
    assert column_loss(found, matrix, hidden).tolist() == pytest.approx([0, 2])


def test_the_head_is_there_only_where_the_objective_is():
    assert not hasattr(GeneBert(ModelConfig.from_pretrain(toy_block(), 10), 3), "mrm")
    with_head = model_of("swin", d_model=32, n_heads=2)
    without = GeneBert(ModelConfig.from_pretrain(toy_block(), 10), 3)
    for name, value in without.state_dict().items():  # drawn as without it
        assert torch.equal(with_head.state_dict()[name], value), name
