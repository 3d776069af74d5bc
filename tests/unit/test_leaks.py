from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from genome_toys import turned

from genebert.errors import InputError
from genebert.genome import encode
from genebert.tasks import leaks

RNG = np.random.default_rng(3)


def text(n: int = 200) -> str:
    return "".join(RNG.choice(list("ACGT"), n))


def mutated(sequence: str, rate: float) -> str:
    letters = np.array(list(sequence))
    hit = RNG.random(len(letters)) < rate
    letters[hit] = RNG.choice(list("ACGT"), hit.sum())
    return "".join(letters)


def items(**by_split: list[str]) -> pd.DataFrame:
    rows = [(split, sequence) for split, found in by_split.items() for sequence in found]
    frame = pd.DataFrame(rows, columns=["split", "sequence"])
    return frame.assign(item=[f"i{k}" for k in range(len(frame))], label=0.0, group="")


def slow_similarity(query: str, references: list[str], k: int) -> float:
    def words(sequence: str) -> set[str]:
        found = (sequence[i : i + k] for i in range(len(sequence) - k + 1))
        return {min(word, turned(word)) for word in found}

    own = words(query)
    return max((len(own & words(other)) / len(own) for other in references), default=0.0)


def test_nearest_similarity_equals_a_slow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    references = [text() for _ in range(30)]
    queries = [mutated(r, rate) for r in references[:6] for rate in (0, 0.01, 0.05)]
    queries += [turned(references[7]), text(), references[8][:100] + references[9][100:]]
    expected = [slow_similarity(q, references, 16) for q in queries]
    found = leaks.nearest_similarity(queries, references)
    assert found == pytest.approx(expected)
    assert found[0] == found[18] == 1
    assert 0.3 < found[20] < 0.6  # halves of two references: one neighbour, not their sum
    monkeypatch.setattr(leaks, "MAX_PAIRS", 100)
    assert leaks.nearest_similarity(queries, references) == pytest.approx(expected)
    monkeypatch.setattr(leaks, "REFERENCES", 7)
    assert leaks.nearest_similarity(queries, references) == pytest.approx(expected)
    monkeypatch.setattr(leaks, "MAX_OCCURRENCES", 0)
    assert not leaks.nearest_similarity(queries, references).any()


def test_similarity_of_what_has_no_kmer_or_no_reference() -> None:
    assert leaks.nearest_similarity(["ACGT", "N" * 50], [text()]).tolist() == [0, 0]
    assert leaks.nearest_similarity([text()], []).tolist() == [0]
    assert leaks.nearest_similarity([], [text()]).tolist() == []


def test_similarity_is_that_of_test_items(monkeypatch: pytest.MonkeyPatch) -> None:
    known = text()
    frame = items(train=[known, text()], valid=[text()], test=[text(), mutated(known, 0.03)])
    similarity = leaks.add_similarity(frame)["similarity"]
    assert similarity[:3].isna().all()
    assert similarity[3] == 0
    assert 0.3 < similarity[4] < 1
    monkeypatch.setattr(leaks, "MAX_QUERIES", 1)
    assert leaks.add_similarity(frame)["similarity"].isna().sum() == 4


def test_similarity_elsewhere_leaves_out_the_own_group(monkeypatch: pytest.MonkeyPatch) -> None:
    group = RNG.integers(0, 3, 40)
    sequences = [text() for _ in group]
    for i in range(0, 40, 3):
        sequences[i] = mutated(sequences[(i + 5) % 40], 0.02)
    sequences[7] = sequences[9]
    expected = [
        slow_similarity(s, [t for t, other in zip(sequences, group, strict=True) if other != g], 16)
        for s, g in zip(sequences, group, strict=True)
    ]
    assert leaks.similarity_elsewhere(sequences, group) == pytest.approx(expected)
    assert 0 < sum(np.array(expected) > 0.3) < 25
    monkeypatch.setattr(leaks, "REFERENCES", 7)
    assert leaks.similarity_elsewhere(sequences, group) == pytest.approx(expected)
    monkeypatch.setattr(leaks, "MAX_QUERIES", 10)
    assert np.isfinite(leaks.similarity_elsewhere(sequences, group)).sum() == 10


def test_kmers_agree_with_the_text() -> None:
    sequence = text(60)
    for k in (3, 14, 31):
        words = [sequence[i : i + k] for i in range(len(sequence) - k + 1)]
        number = {word: i for i, word in enumerate(sorted({*words, *map(turned, words)}))}
        plain = leaks.kmers(encode(sequence), k, canonical=False)
        assert len(set(plain.tolist())) == len(set(words))
        assert [int(x) for x in plain] == [
            sum("ACGT".index(b) * 4 ** (k - 1 - j) for j, b in enumerate(w)) for w in words
        ]
        same = leaks.kmers(encode(sequence), k)
        back = leaks.kmers(encode(turned(sequence)), k)
        assert same.tolist() == back[::-1].tolist()
        lowest = [min(w, turned(w), key=number.__getitem__) for w in words]
        assert len(set(same.tolist())) == len(set(lowest))
    assert len(leaks.kmers(encode("ACGTNACGT"), 4)) == 2
    assert len(leaks.kmers(encode("ACG"), 4)) == 0


def test_each_kind_of_copy_is_found_and_removed() -> None:
    known = [text() for _ in range(4)]
    fresh = [text() for _ in range(46)]
    half = known[2][:120] + text(80)  # 90 of 170 31-mers
    quarter = known[3][:80] + text(120)  # 50 of 170
    frame = items(
        train=known[:3], valid=known[3:], test=[known[0], turned(known[1]), half, quarter, *fresh]
    )
    kept, report = leaks.remove_copies(frame, file="f")
    report = report.set_index("check")
    assert report.loc["exact_duplicate", "found"] == 1
    assert report.loc["reverse_complement_duplicate", "found"] == 1
    assert report.loc["31mer_containment_above_0.5", "found"] == 3
    assert report.loc["any_copy", ["found", "removed", "share"]].tolist() == [3, 3, 0.06]
    assert report.loc["remaining_duplicate", "found"] == 0
    assert kept["sequence"].tolist() == [*known, quarter, *fresh]


def test_copies_elsewhere_are_those_of_every_other_group() -> None:
    group = [str(name) for name in RNG.choice(["a", "b", "c"], 60)]
    sequences = [text() for _ in group]
    for i in range(0, 60, 7):  # parts of others, in the same group and not
        sequences[i] = sequences[i + 3][:120] + sequences[i][120:]
    found = leaks.containment_elsewhere(sequences, group)
    for name in set(group):
        own = [i for i, other in enumerate(group) if other == name]
        others = [s for s, other in zip(sequences, group, strict=True) if other != name]
        asked = [sequences[i] for i in own]
        assert found[own].tolist() == leaks.containment(asked, others).tolist()
    assert 0 < (found > 0).sum() < 60


def test_items_that_are_not_checked_stay() -> None:
    known = [text() for _ in range(10)]
    frame = items(train=known, test=[*known, text()])
    checked = np.arange(len(frame)) == len(frame) - 1
    kept, report = leaks.remove_copies(frame, file="f", checked=checked)
    assert len(kept) == len(frame)
    assert report["removed"].sum() == 0


def test_more_than_a_fifth_is_an_error() -> None:
    known = [text() for _ in range(3)]
    with pytest.raises(InputError, match=r"labels: too many test items .* found '3 of 10'"):
        leaks.remove_copies(
            items(train=known, test=[*known, *(text() for _ in range(7))]), file="labels"
        )


def test_copies_between_train_and_valid_are_reported() -> None:
    known = [text(), text()]
    _, report = leaks.remove_copies(items(train=known, valid=known[:1], test=[text()]), file="f")
    row = report.set_index("check").loc["valid_duplicate_of_train"]
    assert (row["found"], row["removed"], row["share"]) == (1, 0, 1.0)


def test_each_kind_of_copy_of_train_in_valid_is_counted_and_stays() -> None:
    known = [text() for _ in range(3)]
    valid = [known[0], turned(known[1]), known[2][:150] + text(50), text()]
    kept, report = leaks.remove_copies(items(train=known, valid=valid, test=[text()]), file="f")
    rows = report.set_index("check")[["found", "removed", "share"]]
    assert rows.loc["valid_duplicate_of_train"].tolist() == [1, 0, 0.25]
    assert rows.loc["valid_reverse_complement_of_train"].tolist() == [1, 0, 0.25]
    assert rows.loc["valid_contained_in_train"].tolist() == [3, 0, 0.75]
    assert len(kept) == 8


@pytest.mark.parametrize("kind", list(leaks.CHECKS))
def test_a_copy_of_any_kind_that_is_left_is_an_error(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look misses one copy in one way; the look at what is left finds it."""
    known, other = text(), text()
    copy = {"exact": known, "reverse_complement": turned(known), "contained": known[:150]}[kind]
    fresh = [text() for _ in range(20)]
    frame = items(train=[known, other], valid=[text()], test=[copy, other, *fresh])
    whole, calls = leaks.find_copies, []

    def blind(sequences: list[str], references: list[str]) -> pd.DataFrame:
        calls.append(sequences)
        found = whole(sequences, references)
        return found & (np.array(sequences) != copy)[:, None] if len(calls) == 1 else found

    monkeypatch.setattr(leaks, "find_copies", blind)
    with pytest.raises(InputError, match="f: test items are still copies after removal; found"):
        leaks.remove_copies(frame, file="f")


def test_composition_that_tells_the_classes_is_reported() -> None:
    rich = ["GC" * 50 + "A" * k for k in range(10)]
    poor = ["AT" * 50 + "G" * k for k in range(10)]
    frame = items(train=rich + poor, valid=rich + poor, test=rich + poor)
    frame["label"] = np.tile(np.repeat([1.0, 0.0], 10), 3)
    report = leaks.composition_rows(frame).set_index("check")["share"]
    assert report["gc_auroc:test"] == 1.0
    assert report["gc_positive:train"] > 0.9
    assert report["length_negative:valid"] == 104.5
    whole = leaks.composition_rows(frame, splits=()).set_index("check")["share"]
    assert whole["gc_auroc"] == 1.0
    assert list(whole.index) == [name.split(":")[0] for name in report.index[:5]]


@pytest.mark.parametrize(("rate", "expected"), [(0.05, True), (0.15, True), (0.5, False)])
def test_related_genes_are_told_by_identity(rate: float, expected: bool) -> None:
    # replaced bases are the same by chance in a quarter of the draws: identity 1 - 0.75 rate
    references = [text(3000) for _ in range(5)]
    queries = [mutated(references[2], rate), mutated(references[4][500:2500], rate)]
    assert leaks.related(queries, references).tolist() == [expected, expected]


def test_a_shared_part_alone_does_not_make_genes_related() -> None:
    shared = text(300)
    references = [text(1500) + shared, "A" * 2000]
    queries = [text(1500) + shared, text(2000), "ACGT", turned(references[0])]
    assert leaks.related(queries, references).tolist() == [False] * 4
    assert leaks.related([], references).tolist() == []
    assert leaks.related(queries, []).tolist() == [False] * 4
