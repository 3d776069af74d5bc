"""The networks: shapes, what they must and must not see, initial weights, FLOPs, bad sizes."""

from __future__ import annotations

import pytest
import torch

from genebert import tokens
from genebert.errors import InputError
from genebert.model import GeneBert, ModelConfig
from genebert.model.genebert import COMPOSED_STD, NucleotideHead, composed_embedding
from genebert.model.region import WindowBlock
from genebert.model.sequence import rotary_angles, rotate


def small(**changes):
    values = {
        "k": 3, "d_model": 16, "n_heads": 2, "n_features": 11, "n_columns": 7,
        "d_region": 16, "region_heads": 2, **changes,
    }  # fmt: skip
    return ModelConfig(**values)


def lively(model, seed=0):
    """Give every weight a size at which effects show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


@pytest.mark.parametrize("encoder", ["swin", "transformer"])
@pytest.mark.parametrize(
    ("features", "columns", "depths"),
    [(1, 3, (1,)), (11, 7, (2, 2)), (46, 11, (2, 2, 1)), (5, 65, (1, 1))],
)
def test_region_encoders_take_any_matrix(encoder, features, columns, depths):
    config = small(
        region_encoder=encoder, n_features=features, n_columns=columns, region_depths=depths
    )
    model = lively(GeneBert(config))
    matrix = torch.rand(3, features, columns)
    assert model.embed_region(matrix).shape == (3, 16)
    one = model.embed_region(matrix[1:2])
    assert torch.allclose(model.embed_region(matrix)[1:2], one, atol=1e-4)


@pytest.mark.parametrize("encoder", ["swin", "transformer"])
def test_every_cell_of_the_matrix_reaches_the_embedding(encoder):
    model = lively(GeneBert(small(region_encoder=encoder, region_depths=(2, 2))))
    matrix = torch.rand(1, 11, 7, requires_grad=True)
    model.embed_region(matrix).square().sum().backward()
    assert bool((matrix.grad.abs() > 0).all())


@pytest.mark.parametrize("encoder", ["swin", "transformer"])
def test_the_placeholder_hides_the_anchor_column_and_only_that(encoder):
    model = lively(GeneBert(small(region_encoder=encoder)))
    matrix = torch.rand(2, 11, 7)
    anchor, other = matrix.clone(), matrix.clone()
    anchor[:, :, 3] += 1
    other[:, :, 2] += 1
    hidden = model.embed_region(matrix, True)
    assert torch.equal(model.embed_region(anchor, True), hidden)
    assert not torch.allclose(model.embed_region(other, True), hidden)
    some = model.embed_region(anchor, torch.tensor([True, False]))
    assert torch.allclose(some[0], hidden[0], atol=1e-5)
    assert torch.allclose(some[1], model.embed_region(anchor)[1], atol=1e-5)


@pytest.mark.parametrize(("positions", "same"), [(False, True), (True, False)])
def test_the_order_of_the_regions_matters_unless_columns_have_no_position(positions, same):
    model = lively(GeneBert(small(region_encoder="transformer", column_positions=positions)))
    matrix = torch.rand(2, 11, 7, generator=torch.Generator().manual_seed(1))
    moved = matrix[:, :, [5, 0, 6, 3, 2, 1, 4]]  # the anchor, column 3, stays
    found, expected = model.embed_region(moved), model.embed_region(matrix)
    assert torch.allclose(found, expected, atol=1e-4) is same
    assert not torch.allclose(model.embed_region(matrix[:, :, [3, 1, 2, 0, 4, 5, 6]]), expected)


def test_the_cell_state_is_needed_and_seen():
    for encoder in ("swin", "transformer"):
        model = lively(GeneBert(small(region_encoder=encoder, cell_state=True)))
        matrix = torch.rand(2, 11, 7)
        a = model.embed_region(matrix, state=torch.zeros(2, 11))
        b = model.embed_region(matrix, state=torch.ones(2, 11))
        assert not torch.allclose(a, b)
        with pytest.raises(ValueError, match="cell_state"):
            model.embed_region(matrix)


def test_windows_see_their_window_and_shifted_windows_do_not_wrap():
    """Which patches reach which, found by gradients, is what the windows say."""
    H, W, r, c = 7, 5, 4, 2
    for shifted in (False, True):
        block = lively(WindowBlock(8, 2, (H, W), (r, c), shifted, 0.0))
        x = torch.rand(1, H, W, 8, requires_grad=True)
        shift = (r // 2, c // 2) if shifted else (0, 0)

        def window_of(i, j, shift=shift):
            return ((i - shift[0]) // r, (j - shift[1]) // c)  # floor: -1 before the first cut

        for i, j in [(0, 0), (3, 2), (6, 4), (2, 1)]:
            (grad,) = torch.autograd.grad(block(x)[0, i, j].square().sum(), x)
            seen = grad[0].abs().sum(-1) > 1e-9
            expected = torch.tensor(
                [[window_of(a, b) == window_of(i, j) for b in range(W)] for a in range(H)]
            )
            assert torch.equal(seen, expected), (shifted, i, j)


def test_rotary_scores_depend_on_distance_only():
    cos, sin = rotary_angles(12, 8, torch.device("cpu"))
    q, k = torch.randn(8), torch.randn(8)
    turned_q = rotate(q.expand(1, 1, 12, 8), cos, sin)[0, 0]
    turned_k = rotate(k.expand(1, 1, 12, 8), cos, sin)[0, 0]
    score = turned_q @ turned_k.T
    assert torch.allclose(score[2:, :-2].diagonal(), score[2, 0].expand(10), atol=1e-5)
    assert not torch.allclose(score[0, 0], score[5, 0])


def test_the_order_of_tokens_matters():
    model = lively(GeneBert(small()))
    ids = torch.randint(5, 69, (1, 20), generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(model.embed_sequence(ids), model.embed_sequence(ids.flip(1)))


def test_the_nucleotide_head_reads_the_logits_of_the_offset():
    head = NucleotideHead(8, 3)
    x = torch.randn(2, 5, 8)
    every = torch.stack([head(x, torch.full((2, 5), o)) for o in range(3)], dim=2)
    offset = torch.tensor([[0, 1, 2, 1, 0], [2, 2, 1, 0, 1]])
    picked = every.gather(2, offset[:, :, None, None].expand(2, 5, 1, 4))[:, :, 0]
    assert torch.equal(head(x, offset), picked)
    assert not torch.allclose(every[:, :, 0], every[:, :, 1]) or float(every.abs().max()) == 0


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    a = GeneBert(small(), seed=3).state_dict()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    b = GeneBert(small(), seed=3).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    c = GeneBert(small(), seed=4).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["sequence.embedding.weight"], c["sequence.embedding.weight"])
    assert bool((a["sequence.norm.weight"] == 1).all())
    assert bool((a["sequence.blocks.0.attention.qkv.bias"] == 0).all())


def test_vectors_of_kmers_start_as_sums_over_their_bases():
    weight = GeneBert(small(), seed=3).state_dict()["sequence.embedding.weight"]

    def vector(kmer: str) -> torch.Tensor:
        codes = torch.tensor(["ACGT".index(base) for base in kmer])
        return weight[tokens.tokenize(codes, 3, 1)[0]]

    change = vector("ACG") - vector("ATG")  # C for T in the middle, whatever stands beside it
    assert torch.allclose(change, vector("GCA") - vector("GTA"), atol=1e-5)
    assert not torch.allclose(change, vector("CAG") - vector("TAG"), atol=0.1)  # another place
    assert float(weight.std()) == pytest.approx(COMPOSED_STD, rel=0.1)
    composed = GeneBert(small(), seed=3).state_dict()
    alone = GeneBert(small(embedding="independent"), seed=3).state_dict()
    weight = alone.pop("sequence.embedding.weight")
    assert all(torch.equal(value, composed[name]) for name, value in alone.items())
    assert not torch.allclose(
        vector("ACG") - vector("ATG"), vector("GCA") - vector("GTA"), atol=1e-3
    )
    assert float(weight.std()) == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("k", [1, 2, 6])
def test_composed_vectors_keep_what_is_no_kmer_and_the_spread(k):
    drawn = torch.randn(tokens.vocabulary_size(k), 64, generator=torch.Generator().manual_seed(1))
    made = composed_embedding(drawn, k)
    kmers = slice(tokens.N_SPECIAL, tokens.N_SPECIAL + 4**k)
    rest = torch.ones(len(drawn), dtype=torch.bool)
    rest[kmers] = False
    assert torch.equal(made[rest], drawn[rest])
    assert float(made[kmers].std()) == pytest.approx(1, rel=0.2)


def test_flops_of_base_are_those_of_the_reference():
    """509.6 MFLOP/token for the blocks of 12 x 768 and 56.6 for attention at 512 tokens."""
    with torch.device("meta"):
        from genebert.model.sequence import SequenceEncoder

        config = ModelConfig.from_pretrain({"model": {"size": "base"}}, 10)
        blocks = sum(p.numel() for p in SequenceEncoder(config).blocks.parameters())
    assert 6 * blocks / 1e6 == pytest.approx(509.6, rel=0.005)
    model = GeneBert(small())
    with_head = model.flops_per_token(64, 0.15) - model.flops_per_token(64, 0.0)
    assert with_head == pytest.approx(0.9 * sum(p.numel() for p in model.mgm.parameters()))
    assert model.flops_per_token(64) - model.flops_per_token(32) == 12 * 2 * 16 * 32
    assert model.flops_per_matrix() > 0


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"n_heads": 3}, "d_model"),
        ({"region_encoder": "cnn"}, "region_encoder"),
        ({"pooling": "max"}, "pooling"),
        ({"embedding": "sum"}, "embedding"),
        ({"n_columns": 6}, "neighbours"),
        ({"stride": 4}, "stride"),
    ],
)
def test_bad_sizes_are_one_line(changes, key):
    with pytest.raises(InputError, match=key):
        small(**changes)


@pytest.mark.parametrize("model", [{"size": "huge"}, {"width": 3}])
def test_bad_keys_of_the_block_are_one_line(model):
    with pytest.raises(InputError, match="model"):
        ModelConfig.from_pretrain({"model": model}, 5)


def test_the_block_overrides_its_preset():
    config = ModelConfig.from_pretrain(
        {
            "tokens": {"k": 4, "stride": 2},
            "neighbours": 4,
            "model": {"size": "small", "n_layers": 3},
        },
        9,
        dropout=0.1,
    )
    assert (config.k, config.stride, config.n_columns, config.n_features) == (4, 2, 5, 10)
    assert (config.d_model, config.n_layers, config.dropout) == (256, 3, 0.1)
