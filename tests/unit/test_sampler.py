"""Rows: a function of (seed, epoch, locus) alone; labels, negatives, strands and controls."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from genebert import sampler as sampler_module
from genebert import tokens
from genebert.plan import Plan
from genebert.population import NGSP_GAP, build_population
from genebert.sampler import N1, N2, NGSP_NEAR, NONE, Sampler, best_candidate, draw, mismatch
from genebert.samples import TRAIN, Corpus
from genebert.tokens import MASK
from pretrain_toys import toy_block, toy_shards

SHARDS = toy_shards()
CORPUS = Corpus.from_shards(SHARDS)


def sampler(seed=1, **changes):
    plan = Plan.from_pretrain(toy_block(**changes), seed)
    return Sampler(build_population(CORPUS, plan, TRAIN, "training"))


FULL = sampler()


def together(made, steps=30, **kwargs):
    """Return the rows of many steps, joined by name."""
    parts = [made.batch(step, **kwargs).tensors() for step in range(steps)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def test_an_epoch_visits_every_locus_once():
    n, B = FULL.population.loci.numel(), 16
    seen = torch.cat([FULL.visits(step)[0] for step in range(-(-n // B))])[:n]
    # rows of a step are in the order of their positions
    assert torch.equal(seen.sort().values, FULL.population.loci)
    assert not torch.equal(seen, sampler(seed=2).visits(0)[0])


def test_looking_ahead_changes_nothing(monkeypatch):
    expected = [FULL.visits(step) for step in range(40)]
    monkeypatch.setattr(sampler_module, "_AHEAD", 24)  # three steps of eight rows
    made = sampler()
    for step in (39, 0, 2, 3, 11, 4, 12):
        for found, value in zip(made.visits(step), expected[step], strict=True):
            assert torch.equal(found, value)


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("changes", [{}, {"samples": "pairs", "model": {"cell_state": True}}])
def test_processes_together_see_what_one_sees(world, changes):
    made = sampler(**changes)
    whole = made.batch(7).tensors()
    parts = [made.batch(7, rank, world).tensors() for rank in range(world)]
    for name, value in whole.items():
        if value.shape[0] == 16:  # two halves: single and pair rows, or right and wrong matrices
            halves = [p[name].chunk(2) for p in parts]
            joined = torch.cat([h[0] for h in halves] + [h[1] for h in halves])
        else:
            joined = torch.cat([p[name] for p in parts])
        assert torch.equal(joined, value), name


def test_a_row_depends_on_seed_epoch_and_locus_not_on_its_company():
    locus = FULL.population.loci[:8]
    zero, yes = torch.zeros(8, dtype=torch.int64), torch.ones(8, dtype=torch.bool)
    a = FULL.rows(locus, zero, zero, locus, zero, yes).tensors()
    b = FULL.rows(locus[3:5], zero[:2], zero[:2], locus[3:5], zero[:2], yes[:2]).tensors()
    assert torch.equal(a["ids"][3:5], b["ids"][:2])
    assert torch.equal(a["ids"][11:13], b["ids"][2:])
    assert torch.equal(a["matrix"][3:5], b["matrix"][:2])
    c = FULL.rows(locus, zero + 1, zero, locus, zero + 1, yes).tensors()
    assert not torch.equal(a["ids"], c["ids"])


def test_rows_have_their_tokens_and_targets_are_the_hidden_bases():
    rows = FULL.batch(3)
    single, pair = rows.ids[:8], rows.ids[8:]
    assert bool((rows.ids[:, 0] == tokens.CLS).all())
    assert not bool((single == tokens.SEP).any())
    assert bool((pair[:, 32] == tokens.SEP).all())
    assert rows.ids.shape == (16, 64)
    # visible tokens that predict a kept base hold it
    token = rows.ids.gather(1, rows.index)
    visible = token >= tokens.N_SPECIAL
    base = (token - tokens.N_SPECIAL) // 4 ** (2 - rows.offset) % 4
    agree = (base == rows.target)[visible].double().mean()
    assert float(visible.double().mean()) > 0.05
    assert float(agree) > 0.45  # kept ones agree, a quarter of the replaced ones do


def test_segments_come_from_the_region_on_either_strand():
    whole = SHARDS.codes
    rows = sampler(objectives={"mgm": {"hidden_fraction": 0.01, "span": 1}}).batch(0)
    strands = []
    for i, region in enumerate(rows.anchor.tolist()):
        stored = torch.as_tensor(whole[region][None])
        ids = rows.ids[i, 1:]
        matches = []
        for codes in (stored, tokens.reverse_complement(stored)):
            every = tokens.tokenize(codes, 3, 1)[0]
            matches.append(
                max(
                    float((every[o : o + 63] == ids).double().mean())
                    for o in range(len(every) - 62)
                )
            )
        assert max(matches) > 0.8
        strands.append(matches[0] > matches[1])
    assert len(set(strands)) == 2


def test_half_of_the_pairs_follow_and_partners_are_where_they_should_be():
    rows = together(FULL, steps=60)
    assert float(rows["follows"].double().mean()) == 0.5
    near = far = 0
    for a, b, follows in zip(
        rows["pair_anchor"].tolist(),
        rows["partner"].tolist(),
        rows["follows"].tolist(),
        strict=True,
    ):
        assert SHARDS.contig[a] == SHARDS.contig[b]
        assert SHARDS.split[b] == TRAIN
        both = np.flatnonzero(SHARDS.is_open[:5, a] & SHARDS.is_open[:5, b])
        assert len(both)  # open in the same training cell type
        between = [SHARDS.is_open[c, min(a, b) : max(a, b)].sum() for c in both]
        if follows:
            gap = SHARDS.start[b] - SHARDS.start[a]
            assert gap >= FULL.layout.partner
            in_reach = SHARDS.start - SHARDS.start[a] >= FULL.layout.partner
            skipped = [SHARDS.is_open[c, a + 1 : b][in_reach[a + 1 : b]].sum() for c in both]
            assert min(skipped) == 0
        else:
            assert max(between) > NGSP_GAP
            near += max(between) <= NGSP_NEAR
            far += min(between) > NGSP_NEAR
    assert near > 20
    assert far > 20


def matched(wanted, found, bins):
    """Return shares: GC within 2 % and same bin, GC within 2 %, same bin; of pairs and of chance.

    Chance: each region beside what was drawn for another.
    """
    shares = []
    for other in (found, found.roll(1)):
        gc = np.abs(SHARDS.gc[wanted] - SHARDS.gc[other]) <= 0.02 + 1e-6
        same = (bins[wanted] == bins[other]).numpy()
        shares.append(np.array([(gc & same).mean(), gc.mean(), same.mean()]))
    return shares


def test_false_partners_match_true_ones_in_gc_and_breadth():
    n = FULL.population.visits.numel()
    true, false = (visited(FULL, n, follows=follows).partner for follows in (True, False))
    assert bool((true != false).all())
    found, chance = matched(true, false, FULL.population.breadth_bin)
    assert found.min() > 0.7
    assert (found - chance > [0.4, 0.4, 0.08]).all()  # three quarters are in one of the bins anyway
    gc, breadth = (torch.as_tensor(getattr(SHARDS, name)) for name in ("gc", "breadth"))
    assert abs(float(gc[true].mean() - gc[false].mean())) < 0.01
    assert abs(float((breadth[true] - breadth[false]).double().mean())) < 0.25


def pairs_of(rows_list):
    """Return anchor, contrast, and (right, wrong) cells and places of many rows."""
    parts = {
        "anchor": [],
        "contrast": [],
        "cell": [],
        "place": [],
        "wrong_cell": [],
        "wrong_place": [],
    }
    for rows in rows_list:
        for name in ("cell", "place"):
            right, wrong = getattr(rows, name).chunk(2)
            parts[name].append(right)
            parts[f"wrong_{name}"].append(wrong)
        parts["anchor"].append(rows.anchor)
        parts["contrast"].append(rows.contrast)
    return {name: torch.cat(part) for name, part in parts.items()}


def test_no_negative_is_a_cell_type_in_which_the_anchor_is_open():
    drawn = pairs_of(FULL.batch(step) for step in range(60))
    is_open = torch.as_tensor(SHARDS.is_open)
    n1, n2 = drawn["contrast"] == N1, drawn["contrast"] == N2
    assert bool(is_open[drawn["cell"], drawn["anchor"]].all())
    assert torch.equal(drawn["place"], drawn["anchor"])
    assert not bool(is_open[drawn["wrong_cell"], drawn["anchor"]][n2].any())
    assert torch.equal(drawn["wrong_place"][n2], drawn["anchor"][n2])
    assert torch.equal(drawn["wrong_cell"][n1], drawn["cell"][n1])
    assert bool((drawn["wrong_place"] != drawn["anchor"])[n1].all())
    assert bool(is_open[drawn["wrong_cell"], drawn["wrong_place"]][n1].all())
    assert int(n2.sum()) > 50
    assert int(torch.maximum(drawn["cell"], drawn["wrong_cell"]).max()) < 5  # none is held out


def test_cell_types_are_right_and_wrong_equally_often():
    drawn = pairs_of(FULL.batch(step) for step in range(400))
    n2 = drawn["contrast"] == N2
    assert torch.equal(drawn["cell"][~n2], drawn["wrong_cell"][~n2])
    for cell in range(5):
        right = int((drawn["cell"][n2] == cell).sum())
        wrong = int((drawn["wrong_cell"][n2] == cell).sum())
        assert abs(right - wrong) < 4 * (right + wrong) ** 0.5, cell


def test_another_locus_is_matched_and_far_away():
    drawn = pairs_of(FULL.batch(step) for step in range(60))
    n1 = drawn["contrast"] == N1
    anchor, place, cell = (drawn[name][n1].numpy() for name in ("anchor", "wrong_place", "cell"))
    gc = np.abs(SHARDS.gc[anchor] - SHARDS.gc[place])
    assert (gc <= 0.02 + 1e-6).mean() > 0.8
    random = np.abs(SHARDS.gc[anchor] - SHARDS.gc[np.roll(place, 1)])
    assert gc.mean() < 0.5 * random.mean()
    loci = drawn["anchor"][n1], drawn["wrong_place"][n1]
    found, chance = matched(*loci, FULL.population.motif_bin)
    assert found.min() > 0.7
    assert (found - chance > 0.4).all()
    for a, p, c in zip(anchor, place, cell, strict=True):
        low, high = min(a, p), max(a, p)
        assert SHARDS.is_open[c, low:high].sum() > FULL.plan.neighbours


def test_another_locus_is_open_in_as_many_cell_types_and_surrounded():
    """A locus is visited once, but what is open in a cell type is mostly broad."""
    shards = toy_shards(broad=True)
    plan = Plan.from_pretrain(toy_block(), 1)
    made = Sampler(build_population(Corpus.from_shards(shards), plan, TRAIN, "training"))
    breadth = shards.is_open[:5].sum(axis=0)

    def of_both(sampler):
        drawn = pairs_of(sampler.batch(step) for step in range(60))
        n1 = drawn["contrast"] == N1
        return (breadth[drawn[name][n1].numpy()] for name in ("anchor", "wrong_place"))

    anchor, place = of_both(made)
    assert (np.floor(2 * np.log2(anchor)) == np.floor(2 * np.log2(place))).all()
    blind = replace(made.population, octave=torch.zeros_like(made.population.octave))
    anchor, place = of_both(Sampler(blind))
    assert place.mean() > anchor.mean() + 0.5


def test_without_a_fair_negative_a_row_has_no_contrast():
    alone = replace(FULL.population, surrounded=torch.zeros_like(FULL.population.surrounded))
    contrast = pairs_of(Sampler(alone).batch(step) for step in range(20))["contrast"]
    assert not bool((contrast == N1).any())
    everywhere = pairs_of(FULL.batch(step) for step in range(60))
    asked_n2 = torch.arange(len(everywhere["contrast"])) % 2 == N2  # roles alternate
    assert not bool((everywhere["contrast"][asked_n2] == N1).any())
    assert 0.1 < float((everywhere["contrast"] == NONE).double().mean()) < 0.6


def test_matrices_are_complete_and_their_anchor_column_is_empty():
    rows = together(FULL, steps=20)
    accessibility = rows["matrix"][:, -1]
    assert bool((accessibility[:, 3] == 0).all())
    assert bool((accessibility[:, [0, 1, 2, 4, 5, 6]] > 0).all())
    assert rows["matrix"].shape[1:] == (12, 7)


def test_controls_keep_the_rows_and_change_the_matrices():
    real = together(FULL, steps=10)
    for matrix in ("shuffled", "shuffled_cells", "permuted_tfs"):
        control = together(sampler(matrix=matrix), steps=10)
        assert torch.equal(control["ids"], real["ids"])
        assert torch.equal(control["cell"], real["cell"])
        same = (control["matrix"] == real["matrix"]).flatten(1).all(dim=1)
        assert float(same.double().mean()) < 0.5, matrix
        assert control["matrix"].shape == real["matrix"].shape
    permuted = together(sampler(matrix="permuted_tfs"), steps=10)["matrix"]
    assert torch.equal(permuted[:, -1], real["matrix"][:, -1])
    assert torch.equal(
        permuted[:, :-1].sort(dim=1).values, real["matrix"][:, :-1].sort(dim=1).values
    )


def visited(made, n=64, contrast=N1, follows=True):
    """Return rows of the first n visits, all of one contrast, and all B+ or all B-."""
    zero = torch.zeros(n, dtype=torch.int64)
    visit = made.population.visits[:n]
    return made.rows(visit, zero, zero + contrast, visit, zero, zero == 0 if follows else zero > 0)


def test_shuffled_matrices_tell_nothing_of_the_label():
    """What is shown depends on the locus' draw alone, and on another one for the wrong matrix."""
    n1, n2 = (visited(sampler(matrix="shuffled"), contrast=c).matrix for c in (N1, N2))
    assert torch.equal(n1, n2)
    right, wrong = n1.chunk(2)
    assert not bool((right == wrong).flatten(1).all(dim=1).any())


def test_shuffled_cells_show_the_place_of_each_matrix_in_random_cell_types():
    real, control = (visited(sampler(matrix=m), contrast=N2) for m in ("real", "shuffled_cells"))
    right, wrong = control.matrix.chunk(2)
    same = (right == wrong).flatten(1).all(dim=1).double().mean()
    assert 0.05 < float(same) < 0.5  # one of five cell types, drawn twice
    assert torch.equal(control.place, real.place)


# -- cell state ------------------------------------------------------------------------------------


def test_the_state_is_that_of_the_cell_type_whose_columns_are_shown():
    rows = visited(sampler(model={"cell_state": True}), contrast=N2)
    assert torch.equal(rows.state, CORPUS.cell_state[rows.cell])
    assert torch.equal(rows.ids, visited(FULL, contrast=N2).ids)
    assert visited(FULL).state is None
    shown = sampler(model={"cell_state": True}, matrix="shuffled_cells")
    rows = visited(shown, contrast=N2)
    for state, matrix, place in zip(rows.state, rows.matrix, rows.place, strict=True):
        cell = int((CORPUS.cell_state == state).all(dim=1).nonzero()[0])
        assert torch.equal(shown.matrix(torch.tensor([cell]), place[None])[0], matrix)
    permuted = visited(sampler(model={"cell_state": True}, matrix="permuted_tfs"), contrast=N2)
    expected = CORPUS.cell_state[permuted.cell]
    assert not torch.equal(permuted.state, expected)
    assert torch.equal(permuted.state.sort(dim=1).values, expected.sort(dim=1).values)


# -- pairs of a cell type and a region ---------------------------------------------------------------

PAIRS = sampler(samples="pairs")


def test_an_epoch_of_pairs_visits_every_region_once_in_every_cell_type():
    population, view = PAIRS.population, PAIRS.population.view
    anchor, _ = population.eligible(population.loci)
    assert population.visits.numel() == int(anchor.sum()) > 2 * population.loci.numel()
    seen = torch.cat([PAIRS.visits(step)[0] for step in range(-(-population.visits.numel() // 16))])
    seen = seen[: population.visits.numel()]
    assert torch.equal(seen.sort().values, population.visits)
    regions = view.region[population.visits]
    assert set(SHARDS.split[regions.numpy()]) == {TRAIN}
    assert torch.equal(regions.unique(), population.loci)


def test_a_pair_has_its_cell_type_its_crop_and_a_closed_negative():
    view = PAIRS.population.view
    rows, contrasts = PAIRS.batch(5), []
    visit = PAIRS.visits(5)[0][:8]
    cell = (view.key[visit] >> 32) // view.n_contigs
    assert torch.equal(rows.anchor, view.region[visit])
    assert torch.equal(rows.cell[:8], cell)
    is_open = torch.as_tensor(SHARDS.is_open)
    for step in range(30):
        rows = PAIRS.batch(step)
        right, wrong = rows.cell.chunk(2)
        n2 = rows.contrast == N2
        contrasts.append(n2)
        assert bool(is_open[right, rows.anchor].all())
        assert not bool(is_open[wrong, rows.anchor][n2].any())
        assert torch.equal(right[~n2], wrong[~n2])
        for a, b, follows in zip(rows.pair_anchor, rows.partner, rows.follows, strict=True):
            assert SHARDS.contig[a] == SHARDS.contig[b]
            assert bool(follows) <= bool(b > a)
    assert 0.2 < float(torch.cat(contrasts).double().mean()) < 0.5
    # the same region in two cell types: other crops and masks
    locus = view.region[PAIRS.population.visits]
    twice = PAIRS.population.visits[locus == locus[0]][:2]
    zero, yes = torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.bool)
    made = PAIRS.rows(twice, zero, zero, twice, zero, yes)
    assert int(made.anchor[0]) == int(made.anchor[1])
    assert not torch.equal(made.ids[0], made.ids[1])


def test_pairs_are_right_and_wrong_equally_often():
    drawn = pairs_of(PAIRS.batch(step) for step in range(400))
    n2 = drawn["contrast"] == N2
    for cell in range(5):
        right = int((drawn["cell"][n2] == cell).sum())
        wrong = int((drawn["wrong_cell"][n2] == cell).sum())
        assert abs(right - wrong) < 4 * (right + wrong) ** 0.5, cell


# -- weights of cell types -------------------------------------------------------------------------


def test_cell_types_are_drawn_by_their_weights():
    drawn = pairs_of(FULL.batch(step) for step in range(60))
    n1, n2 = drawn["contrast"] == N1, drawn["contrast"] == N2
    only = torch.ones(5, dtype=torch.int64)
    only[2] = 10**6
    made = Sampler(replace(FULL.population, cell_weight=only))
    heavy = pairs_of(made.batch(step) for step in range(60))
    is_open = torch.as_tensor(SHARDS.is_open)[2, heavy["anchor"]]
    eligible, _ = FULL.population.eligible(heavy["anchor"])
    assert bool(((heavy["cell"] == 2) == (is_open & eligible[:, 2]))[n1].all())
    assert torch.equal(heavy["cell"][n2], drawn["cell"][n2])  # n2 is balanced as before
    assert 0.05 < float((drawn["cell"][n1] == 2).double().mean()) < 0.5
    sized = sampler(cell_type_weights="inverse_size").population
    first, end = sized.view.cell_bounds(sized.cells)
    assert torch.equal(sized.cell_weight.argsort(), (first - end).argsort())
    assert FULL.population.cell_weight.tolist() == [1] * 5


# -- the samples do not change -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "30059a8e3ca27d42"),
        ({"matrix": "permuted_tfs"}, "30059a8e3ca27d42"),
        (
            {"objectives": {"mgm": {"masking": "dnabert"}, "srm": {"loss": "infonce"}}},
            "998487cc33399484",
        ),
    ],
)
def test_samples_are_those_of_earlier_versions(changes, expected):
    """The integers of the first steps; another digest means that runs cannot be compared."""
    made, digest = sampler(seed=3, **changes), hashlib.sha256()
    for step in (0, 1, 40):
        for name, value in sorted(made.batch(step).tensors().items()):
            if not value.is_floating_point():
                digest.update(name.encode() + value.long().numpy().tobytes())
    assert digest.hexdigest()[:16] == expected


def test_accessibility_can_be_left_out():
    matrix = sampler(accessibility=False).batch(0).matrix
    assert matrix[:, -1].unique().tolist() == [0.0, 1.0]


def test_under_infonce_no_forbidden_matrix_stands_against_a_row():
    made = sampler(objectives={"srm": {"loss": "infonce", "group": 4}})
    others = 0
    for step in range(20):
        rows = made.batch(step)
        cell = torch.cat([x.view(2, 4) for x in rows.cell.chunk(2)], dim=1)
        for g, i, j in np.ndindex(2, 4, 8):
            if j % 4 == i:
                assert bool(rows.allowed[g, i, j])
            else:
                is_open = SHARDS.is_open[cell[g, j], rows.anchor[g * 4 + i]]
                assert bool(rows.allowed[g, i, j]) != is_open
                others += not is_open
    assert others > 50


def test_sequence_objectives_need_no_matrix():
    rows = sampler(objectives=["mgm", "ngsp"]).batch(0)
    assert rows.matrix is None
    assert torch.equal(rows.ids, FULL.batch(0).ids)  # equal samples for all variants


def test_draw_follows_the_weights():
    word = torch.arange(0, 2**32, 2**22)
    weight = torch.tensor([[1, 0, 3]]).expand(len(word), -1)
    column, possible = draw(weight, word)
    share = torch.bincount(column, minlength=3).double() / len(word)
    assert share.tolist() == pytest.approx([0.25, 0, 0.75], abs=0.01)
    assert bool(possible.all())
    assert not bool(draw(weight * 0, word)[1].any())


def test_candidates_rank_by_tier_then_by_order():
    which, tier = best_candidate(torch.tensor([[3, 1, 1], [0, 0, 5]]))
    assert which.tolist() == [1, 0]
    assert tier.tolist() == [1, 0]
    least, most = torch.tensor([False, True, False]), torch.tensor([False, False, True])
    assert mismatch(least, most).tolist() == [0, 1, 2]


def test_seeds_differ():
    a, b = (replace(FULL.plan, seed=s) for s in (1, 2))
    rows = [Sampler(replace(FULL.population, plan=plan)).batch(0).ids for plan in (a, b)]
    assert not torch.equal(*rows)


def test_without_mgm_nothing_is_hidden():
    blind, seeing = (sampler(objectives={name: {}, "srm": {}}) for name in ("mgm", "ngsp"))
    masked, whole = blind.batch(3), seeing.batch(3)
    assert int((masked.ids == MASK).sum()) > 0
    assert int((whole.ids == MASK).sum()) == 0
    assert torch.equal(masked.anchor, whole.anchor)
    assert torch.equal(masked.target, whole.target)
    clear = masked.ids != MASK
    assert float((masked.ids == whole.ids)[clear].double().mean()) > 0.8  # some are replaced
