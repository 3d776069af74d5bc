"""Losses and figures against hand-made numbers."""

from __future__ import annotations

import math

import pytest
import torch

from genebert.objectives import (
    accuracy,
    binary_loss,
    chance,
    infonce_loss,
    nucleotide_loss,
)


def test_nucleotide_loss_is_ln4_without_knowledge_and_ignores_n():
    logits = torch.zeros(2, 3, 4)
    target = torch.tensor([[0, 1, 4], [2, 3, 4]])
    loss = nucleotide_loss(logits, target, (target < 4).float())
    assert loss[:, :2].flatten().tolist() == pytest.approx([math.log(4)] * 4)
    assert loss[:, 2].tolist() == [0, 0]


def test_nucleotide_loss_falls_where_the_right_base_is_likely():
    logits = torch.tensor([[[5.0, 0, 0, 0]]])
    right = nucleotide_loss(logits, torch.tensor([[0]]), torch.ones(1, 1))
    wrong = nucleotide_loss(logits, torch.tensor([[1]]), torch.ones(1, 1))
    assert float(right) < 0.05 < 4 < float(wrong)


def test_binary_loss_is_ln2_without_knowledge():
    loss = binary_loss(torch.zeros(2), torch.tensor([True, False]))
    assert loss.tolist() == pytest.approx([math.log(2)] * 2)


def test_infonce_counts_permitted_matrices_only():
    similarity = torch.zeros(1, 2, 4)
    similarity[0, 0, 3] = 100.0  # very similar, but not permitted
    allowed = torch.ones(1, 2, 4, dtype=torch.bool)
    allowed[0, 0, 3] = False
    loss = infonce_loss(similarity, allowed, 0.5)
    assert loss.flatten().tolist() == pytest.approx([math.log(3), math.log(4)])


def test_infonce_finds_its_own_matrix_on_the_diagonal():
    similarity = torch.full((1, 2, 4), -1.0)
    similarity[0, 0, 0] = similarity[0, 1, 1] = 1.0
    loss = infonce_loss(similarity, torch.ones(1, 2, 4, dtype=torch.bool), 0.07)
    assert float(loss.max()) < 1e-6


def test_accuracy_and_chance():
    assert accuracy([1.0, -1.0, 2.0, -3.0], [1, 0, 0, 0]) == 0.75
    assert chance("mgm") == pytest.approx(math.log(4))
    assert chance("srm") == pytest.approx(math.log(2))
