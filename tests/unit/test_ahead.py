"""Batches made ahead: the right ones, none too many, errors where they are asked for."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import torch

from genebert.ahead import Ahead

CPU = torch.device("cpu")


def test_the_next_batch_is_made_while_the_step_is_taken():
    made, second = [], threading.Event()

    def make(step):
        made.append((step, threading.current_thread().name))
        if step == 4:
            second.set()
        return step * 10

    with Ahead(make, 6, CPU) as batches:
        assert batches(3) == 30
        assert second.wait(10)  # nobody has asked for it yet
        assert batches(4) == 40
        assert batches(5) == 50
    assert [step for step, _ in made] == [3, 4, 5]  # none beyond the last step
    assert all(name != threading.current_thread().name for _, name in made)


def test_another_step_than_the_next_is_made_on_demand():
    with Ahead(lambda step: step, 100, CPU) as batches:
        assert [batches(step) for step in (0, 7, 8, 2)] == [0, 7, 8, 2]


def test_an_error_is_raised_where_its_batch_is_asked_for():
    def make(step):
        if step == 1:
            raise ValueError("no such batch")
        return step

    with Ahead(make, 3, CPU) as batches:
        assert batches(0) == 0
        with pytest.raises(ValueError, match="no such batch"):
            batches(1)


def test_threads_of_a_batch_are_those_of_the_step():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with Ahead(lambda step: torch.get_num_threads(), 1, CPU) as batches:
            assert batches(0) == 1
    finally:
        torch.set_num_threads(before)


def test_a_source_that_nobody_holds_goes_away():
    """Its thread must not keep the trainer, and so the weights, on a device."""

    class Maker:
        def __call__(self, step):
            return step

    maker = Maker()
    there = weakref.ref(maker)
    source = Ahead(maker, 3, CPU)
    assert source(0) == 0
    assert source(1) == 1  # so that the thread is done with the first
    assert source(2) == 2
    del source, maker
    gc.collect()
    assert there() is None


def test_the_time_of_making_is_counted():
    with Ahead(lambda step: sum(range(300_000)), 2, CPU) as batches:
        batches(0)
        batches(1)
        assert batches.seconds > 0
