"""Zero-shot scores: signs, strands, nothing read from the hidden base."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genebert import variant_scores
from genebert.genome import encode, reverse_complement
from genebert.model import ModelConfig
from genebert.pretrained import Pretrained

L = 60


@pytest.fixture(params=[1, 3], ids=["stride1", "stride3"])
def encoders(request: pytest.FixtureRequest) -> Pretrained:
    config = ModelConfig(k=6, stride=request.param, d_model=16, n_layers=1, n_heads=2)
    found = Pretrained.random(config, 3)
    with torch.no_grad():  # random weights are small: make the context matter
        found.model.mgm.out.weight.mul_(50)
    return found


def constant(encoders: Pretrained, logits: list[float]) -> Pretrained:
    """Make the model expect the same bases everywhere."""
    with torch.no_grad():
        encoders.model.mgm.out.weight.zero_()
        encoders.model.mgm.out.bias.copy_(torch.tensor(logits).repeat(encoders.config.k))
    return encoders


def pair(ref: str, alt: str, at: int = L // 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (1, L)).astype(np.uint8)
    codes[0, at] = encode(ref)[0]
    other = codes.copy()
    other[0, at] = encode(alt)[0]
    return codes, other


@pytest.mark.parametrize(
    ("ref", "alt", "expected"),
    [
        ("A", "C", 1.0),  # forward C is expected (+2), backward G is not (0)
        ("C", "A", -1.0),
        ("A", "T", 0.0),
        ("A", "G", 1.0),  # on the other strand it is a C
        ("C", "G", 0.0),
    ],
)
def test_sign_and_size_where_c_is_expected(
    encoders: Pretrained, ref: str, alt: str, expected: float
) -> None:
    model = constant(encoders, [0.0, 2.0, 0.0, 0.0])
    found = variant_scores.log_likelihood_ratio(model, *pair(ref, alt))
    np.testing.assert_allclose(found, [expected], atol=1e-6)


def test_probabilities_do_not_depend_on_the_hidden_base(encoders: Pretrained) -> None:
    for at in (0, 7, 29, 30, 31, 54, L - 1 - (L - 6) % encoders.config.stride):
        codes = np.repeat(pair("A", "C", at)[0], 4, axis=0)
        codes[:, at] = np.arange(4)
        found = variant_scores.nucleotide_log_probabilities(encoders, codes, np.full(4, at))
        np.testing.assert_allclose(found, np.repeat(found[:1], 4, axis=0), atol=1e-6)
        np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-6)
    codes[:, 20] = (codes[:, 20] + 1) % 4
    changed = variant_scores.nucleotide_log_probabilities(encoders, codes, np.full(4, 25))
    codes[:, 20] = (codes[:, 20] + 1) % 4
    again = variant_scores.nucleotide_log_probabilities(encoders, codes, np.full(4, 25))
    assert np.abs(changed - again).max() > 1e-4  # what is visible does matter


def test_ratio_is_the_same_from_both_strands_and_turns_with_the_alleles(
    encoders: Pretrained,
) -> None:
    ref, alt = pair("A", "C", 31)
    forward = variant_scores.log_likelihood_ratio(encoders, ref, alt)
    backward = variant_scores.log_likelihood_ratio(
        encoders, reverse_complement(ref), reverse_complement(alt)
    )
    np.testing.assert_allclose(forward, backward, atol=1e-6)
    turned = variant_scores.log_likelihood_ratio(encoders, alt, ref)
    np.testing.assert_allclose(forward, -turned, atol=1e-6)
    assert abs(forward[0]) > 1e-3


def test_only_single_substitutions_have_a_ratio(encoders: Pretrained) -> None:
    ref, alt = pair("A", "C")
    shifted = np.roll(ref, 1, axis=1)
    found = variant_scores.log_likelihood_ratio(
        encoders, np.vstack([ref, ref, ref]), np.vstack([alt, shifted, ref])
    )
    assert found[0] != 0
    assert found[1:].tolist() == [0, 0]
    unknown = alt.copy()
    unknown[0, L // 2] = 4
    assert variant_scores.log_likelihood_ratio(encoders, ref, unknown).tolist() == [0]


def test_batches_change_nothing(encoders: Pretrained) -> None:
    codes = np.random.default_rng(2).integers(0, 4, (7, L)).astype(np.uint8)
    at = np.arange(20, 27)
    whole = variant_scores.nucleotide_log_probabilities(encoders, codes, at)
    parts = variant_scores.nucleotide_log_probabilities(encoders, codes, at, batch=2)
    np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_a_trained_model_prefers_what_it_saw() -> None:
    """A few steps on sequences in which every base is C make A>C likely and C>A unlikely."""
    config = ModelConfig(k=3, stride=1, d_model=16, n_layers=1, n_heads=2)
    encoders = Pretrained.random(config, 1)
    optimizer = torch.optim.Adam(encoders.model.parameters(), lr=1e-2)
    from genebert import tokens
    from genebert.masking import covering

    codes = torch.ones((8, 30), dtype=torch.long)
    codes[::2] = 2  # G: the other strand
    for _ in range(30):
        ids = tokens.tokenize(codes, 3, 1)
        ids[:, 12:15] = tokens.MASK
        token, inside = covering(torch.full((8,), 14), ids.shape[1], 3, 1)
        x = encoders.model.sequence(tokens.single_row(ids))[torch.arange(8), 1 + token][:, None]
        loss = torch.nn.functional.cross_entropy(
            encoders.model.mgm(x, inside[:, None])[:, 0], codes[:, 14]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ref = np.ones((1, 30), dtype=np.uint8)
    alt = ref.copy()
    alt[0, 14] = 0
    ratio = variant_scores.log_likelihood_ratio(encoders, ref, alt)
    assert ratio[0] < -1
    assert variant_scores.log_likelihood_ratio(encoders, alt, ref)[0] > 1


def test_row_distance() -> None:
    ref = np.array([[0.0, 0], [1, 1]], dtype=np.float32)
    alt = np.array([[3.0, 4], [1, 1]], dtype=np.float32)
    assert variant_scores.row_distance(ref, alt).tolist() == [5, 0]


def test_change_in_the_named_cell_type_else_the_largest() -> None:
    delta = np.array([[0.1, -0.5], [0.1, -0.5], [0.1, -0.5], [0.7, -0.5]])
    found = variant_scores.in_cell_type(delta, ["B", "HSC"], ["B", "NK", "", "HSC"])
    assert found.tolist() == [0.1, -0.5, -0.5, -0.5]


def haplotypes(text: str, first: int, length: int, ref: int, alt: str) -> tuple[str, str]:
    """Return the windows of both alleles as the tasks cut them: of one length."""
    start = first - length // 2
    whole = text[start:first] + alt + text[first + ref :]
    return text[start : start + length], whole[:length]


@pytest.mark.parametrize("length", [100, 101])
def test_windows_of_both_alleles_end_on_one_base_of_the_genome(length: int) -> None:
    rng = np.random.default_rng(4)
    for _ in range(60):
        text = "".join(rng.choice(list("ACGT"), 400))
        ref, alt = (int(n) for n in rng.integers(1, 51, 2))
        if rng.random() < 0.5:  # most indels keep one base
            ref, alt = rng.permutation([1, max(ref, alt)]).tolist()
        new = "".join(rng.choice(list("ACGT"), alt))
        pair = haplotypes(text, 200, length, ref, new)
        one, other = variant_scores.on_one_end([pair[0]], [pair[1]], [alt - ref])
        end = 200 - length // 2 + len(one[0])
        assert end >= 200 + ref
        assert one[0] == text[200 - length // 2 : end]
        assert other[0] == text[200 - length // 2 : 200] + new + text[200 + ref : end]


@pytest.mark.parametrize(("ref", "alt"), [(1, 45), (45, 1), (2, 60)])
def test_alleles_that_fill_the_window_end_where_it_does(ref: int, alt: int) -> None:
    text = "".join(np.random.default_rng(5).choice(list("ACGT"), 400))
    pair = haplotypes(text, 200, 50, ref, "A" * alt)
    one, other = variant_scores.on_one_end([pair[0]], [pair[1]], [alt - ref])
    assert one[0] == (pair[0] if alt < ref else text[175:201])
    assert other[0] == (pair[1] if alt > ref else text[175:200] + "A")


def test_the_shift_of_an_indel_is_found_from_its_windows() -> None:
    rng = np.random.default_rng(6)
    text = "".join(rng.choice(list("ACGT"), 400))
    sizes = [(1, 1), (3, 3), (1, 6), (6, 1), (1, 31), (31, 1), (2, 5), (5, 2), (1, 2), (2, 1)]
    pairs, expected = [], []
    for ref, alt in sizes:
        kept = text[200] if 1 in (ref, alt) and ref != alt else ""  # as a VCF writes an indel
        new = kept + "".join(rng.choice(list("ACGT"), alt - len(kept)))
        pairs.append(haplotypes(text, 200, 100, ref, new))
        expected.append(alt - ref)
    one, other = (np.array([encode(pair[i]) for pair in pairs]) for i in (0, 1))
    assert variant_scores.shifts(one, other).tolist() == expected
    same = np.zeros((1, 100), dtype=np.uint8)
    assert variant_scores.shifts(same, same).tolist() == [0]
