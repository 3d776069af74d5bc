"""Copies, twins and first-degree relatives of a cohort, and who is none."""

from __future__ import annotations

import numpy as np
import pytest

from genebert.tasks import relatives
from genebert.tasks.relatives import FIRST_DEGREE, find_relatives

Alleles = np.ndarray  # int8[n, 2, V]


def draw(
    rng: np.random.Generator, n: int, variants: int, populations: int = 1, linked: int = 1
) -> Alleles:
    """Return unrelated people; ``linked`` neighbouring variants are the same."""
    base = rng.uniform(0.1, 0.5, variants // linked)
    shift = 0.1 * rng.normal(size=(populations, len(base)))
    p = np.clip(base + shift, 0.02, 0.98)[np.arange(n) % populations]
    return np.repeat(rng.random((n, 2, len(base))) < p[:, None], linked, axis=2).astype(np.int8)


def child(rng: np.random.Generator, *parents: np.ndarray) -> Alleles:
    """Return a child of two people; variants are not linked."""
    return np.stack([np.where(rng.random(one.shape[1]) < 0.5, *one) for one in parents])


def find(alleles: Alleles) -> relatives.Relatives:
    return find_relatives(alleles.sum(axis=1).astype(np.int8), ["chr1"] * alleles.shape[2])


def test_copies_with_errors_and_missing_calls_and_first_degree_relatives() -> None:
    rng = np.random.default_rng(1)
    people = draw(rng, 200, 1500, populations=2)
    people[150] = child(rng, people[0], people[1])  # with both parents
    people[151], people[152] = (child(rng, people[2], people[3]) for _ in range(2))
    people[[2, 3]] = draw(rng, 2, 1500)  # the parents of the siblings are not there
    dosage = people.sum(axis=1).astype(np.int8)
    dosage[160] = dosage[5]
    dosage[161] = dosage[160]
    wrong = rng.random(1500) < 0.03
    dosage[161, wrong] = rng.integers(0, 3, wrong.sum())
    dosage[rng.random(dosage.shape) < 0.1] = -1
    found = find_relatives(dosage, ["chr1"] * 1500)
    clusters = [np.flatnonzero(found.cluster == k).tolist() for k in np.unique(found.cluster)]
    assert [one for one in clusters if len(one) > 1] == [[0, 1, 150], [5, 160, 161], [151, 152]]
    assert (found.people, found.clusters, found.copies) == (8, 3, 3)
    assert found.least_kinship == pytest.approx(FIRST_DEGREE, abs=1e-4)


@pytest.mark.parametrize(
    ("variants", "populations", "linked"),
    [(100, 1, 1), (300, 1, 1), (2000, 1, 10), (2000, 5, 1), (60, 1, 1)],
)
def test_nobody_is_related_in_a_cohort_of_unrelated_people(
    variants: int, populations: int, linked: int
) -> None:
    for seed in range(3):
        people = draw(np.random.default_rng(seed), 300, variants, populations, linked)
        found = find(people)
        assert found.cluster.tolist() == list(range(300))
        assert (found.people, found.clusters, found.copies) == (0, 0, 0)


def test_few_variants_tell_copies_and_fewer_nothing() -> None:
    people = draw(np.random.default_rng(2), 300, 150)
    people[200:220] = people[:20]
    found = find(people)
    assert (found.people, found.clusters, found.copies) == (40, 20, 40)
    assert found.least_kinship is not None
    assert found.least_kinship > 0.25
    assert "too few for first-degree relatives" in str(found)
    nothing = find(people[:, :, :40])
    assert nothing.least_kinship is None
    assert nothing.people == 0
    assert str(nothing) == f"not told from unrelated people by {nothing.variants} common variants"


@pytest.mark.parametrize(("sets", "size"), [(12, 10), (40, 4)])
def test_many_copies_are_found_too(sets: int, size: int) -> None:
    people = draw(np.random.default_rng(6), sets, 600)
    found = find(np.tile(people, (size, 1, 1)))
    np.testing.assert_array_equal(found.cluster, np.tile(np.arange(sets), size))


def test_rare_variants_make_no_copies() -> None:
    """Hardly anybody carries one, so that nearly all people have the same genotypes."""
    rng = np.random.default_rng(3)
    found = find((rng.random((200, 2, 3000)) < 0.0005).astype(np.int8))
    assert found.variants == 0
    assert found.people == 0


def test_sex_chromosomes_and_organelles_are_left_out() -> None:
    contigs = ["chr1", "chrX", "Y", "chrM", "MT", "chrX_random", "2"]
    dosage = np.tile(np.array([[0], [1], [2]], dtype=np.int8), 7)
    assert relatives.common_variants(dosage, contigs).tolist() == [0, 5, 6]


def test_blocks_of_people_and_thinned_variants_give_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    people = draw(np.random.default_rng(4), 100, 2000)
    people[[50, 99]] = people[[3, 4]]
    whole = find(people)
    assert whole.clusters == 2
    monkeypatch.setattr(relatives, "BLOCK", 7)
    np.testing.assert_array_equal(find(people).cluster, whole.cluster)
    monkeypatch.setattr(relatives, "MOST_VARIANTS", 1000)
    thinned = find(people)
    assert thinned.variants == 1000
    np.testing.assert_array_equal(thinned.cluster, whole.cluster)


def test_kinship_equals_a_second_way_and_needs_calls_in_common() -> None:
    rng = np.random.default_rng(5)
    calls = rng.choice(np.array([-1, 0, 1, 2]), (6, 40), p=[0.1, 0.3, 0.3, 0.3]).astype(np.int8)
    calls[5, 10:] = -1
    found = relatives.kinship(calls[:2], calls)
    for i, j in ((0, 1), (1, 3), (0, 4)):
        a, b = calls[[i, j]][:, (calls[i] >= 0) & (calls[j] >= 0)].astype(int)
        fewer = min((a == 1).sum(), (b == 1).sum())
        opposite, both = (np.abs(a - b) == 2).sum(), ((a == 1) & (b == 1)).sum()
        either = (a == 1).sum() + (b == 1).sum()
        wanted = (both - 2 * opposite) / (2 * fewer) + 0.5 - either / (4 * fewer)
        assert found[i, j] == pytest.approx(wanted, abs=1e-5)
    assert np.isneginf(found[:, 5]).all()
