"""The disease models end to end on toys: tracks, seeds, items, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from task_toys import SomeShards

from genebert import disease_models, predict, pretrained
from genebert.accessibility_head import AccessibilityModel
from genebert.errors import InputError
from genebert.genome import decode, encode, pack
from genebert.model import GeneBert, ModelConfig
from genebert.shards import Shards
from genebert.tasks.dataset import LEAK_COLUMNS, write_dataset

WIDTH, FLANK, N_REGIONS = 48, 4, 90
SITE = "TGACTCAGCA"
PRETRAIN = {
    "tokens": {"k": 4, "stride": 2}, "neighbours": 2,
    "model": {"size": "tiny", "d_model": 16, "n_layers": 1, "n_heads": 2},
}  # fmt: skip
EFFORT = {
    "pretrain_seeds": 2, "finetune_seeds": 1, "finetune_steps": 3, "finetune_batch": 8,
    "learning_rates": [1e-3],
}  # fmt: skip


def plant(sequence: str, at: int = 20) -> str:
    return sequence[:at] + SITE + sequence[at + len(SITE) :]


def toy_shards() -> Any:
    """Regions open in B where they hold SITE, and in NK (held out) where they do not."""
    rng = np.random.default_rng(0)
    has = np.arange(N_REGIONS) % 2 == 0
    rows = []
    for i in range(N_REGIONS):
        text = decode(rng.integers(0, 4, WIDTH + 2 * FLANK).astype(np.uint8))
        rows.append(encode(plant(text, int(rng.integers(FLANK, WIDTH - 6))) if has[i] else text))
    packed, n_mask = pack(np.array(rows))
    cells = [np.flatnonzero(has), np.arange(0, N_REGIONS, 3), np.flatnonzero(~has)]
    return SomeShards(
        packed=packed, n_mask=n_mask, width=WIDTH, flank=FLANK, motifs=["M1", "M2"],
        contigs=["chr1"], contig=np.zeros(N_REGIONS, int), start=np.arange(N_REGIONS) * 1000,
        split=np.arange(N_REGIONS) // 40, held_out_only=np.zeros(N_REGIONS, bool),
        held_out=np.array([False, False, True]), cell_types=["B", "HSC", "NK"],
        open_regions=np.concatenate(cells).astype(np.int32),
        indptr=np.cumsum([0, *map(len, cells)]),
        strengths=np.ones(sum(map(len, cells)), np.float32),
        motif_rows=np.stack([has, ~has], axis=1).astype(np.float16),
        normaliser=np.ones(2, np.float32),
    )  # fmt: skip


class ToyMotifs:
    """Counts SITE and GATA."""

    columns = (SimpleNamespace(threshold=0.5), SimpleNamespace(threshold=0.5))

    def best_dense(self, codes: Any) -> np.ndarray:
        texts = [decode(c) for c in codes]
        return np.array([[float(SITE in t), float(t.count("GATA"))] for t in texts], np.float32)

    def scan(self, codes: Any) -> Any:
        return SimpleNamespace(sum=sparse.csr_matrix(self.best_dense(codes)))


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shards, "open", staticmethod(lambda path, **_: toy_shards()))
    from genebert import motifs

    monkeypatch.setattr(motifs.MotifSet, "read", staticmethod(lambda path: ToyMotifs()))


def leaks() -> pd.DataFrame:
    return pd.DataFrame([("none", 0, 0, 0.0)], columns=list(LEAK_COLUMNS))


@pytest.fixture
def variants(tmp_path: Path) -> Path:
    """120 variants on three contigs; those that break the site are causal."""
    rng = np.random.default_rng(1)
    rows = []
    for i in range(120):
        text = plant(decode(rng.integers(0, 4, WIDTH).astype(np.uint8)))
        at = WIDTH // 2 if i % 4 == 0 else 40
        alt = "ACGT"[("ACGT".index(text[at]) + 1 + i % 3) % 4]
        rows.append(
            {
                "item": f"v{i}", "contig": f"chr{i % 3 + 1}", "start": i * 500,
                "end": i * 500 + WIDTH, "strand": ".", "sequence": text,
                "label": float(i % 4 == 0), "group": "", "cell_type": ["B", "NK", ""][i % 3],
                "split": ["train", "valid", "test"][i % 3], "in_pretraining": False, "region": -1,
                "stratum": "", "oracle": 0.9 if i % 4 == 0 else np.nan,
                "alternative": text[:at] + alt + text[at + 1 :], "position": i * 500 + at + 1,
                "ref": text[at], "alt": alt, "tss_distance": float(i),
            }
        )  # fmt: skip
    info = {
        "task": "disease", "dataset": "v", "kind": "variants", "classes": ["neutral", "causal"],
        "label": "binary", "direction": "both", "uses_regions": False, "strand_specific": False,
        "block_bp": 1000, "n_in": 120, "dropped": {}, "captions": {},
    }  # fmt: skip
    paths = (tmp_path / "dataset.parquet", tmp_path / "dataset.json", tmp_path / "leaks.tsv")
    write_dataset(pd.DataFrame(rows), info, *paths, leaks())
    return tmp_path


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """120 people; element 0 has a variant that breaks the site and decides the risk."""
    rng = np.random.default_rng(2)
    rows, sequences = [], []
    for e in range(6):
        text = plant(decode(rng.integers(0, 4, WIDTH).astype(np.uint8)))
        at = 24 if e == 0 else 40
        sequences += [text, text[:at] + ("A" if text[at] != "A" else "C") + text[at + 1 :]]
    for i, text in enumerate(sequences):
        rows.append(
            {
                "item": f"h{i}", "region": i // 2, "contig": "chr1", "start": i // 2 * 1000,
                "end": i // 2 * 1000 + WIDTH, "sequence": text, "split": "all",
            }
        )  # fmt: skip
    haplotypes = rng.integers(0, 2, (120, 2, 6))
    dosage = haplotypes.sum(axis=1)
    labels = (dosage[:, 0] + rng.normal(0, 0.5, 120) > 1).astype(np.int8)
    np.savez_compressed(
        tmp_path / "cohort.npz", samples=np.array([f"p{i:03d}" for i in range(120)]),
        labels=labels, covariates=rng.normal(size=(120, 1)).astype(np.float32),
        covariate_names=np.array(["age"]), population=np.array(["x", "y"] * 60),
        oracle=np.linspace(0.01, 0.99, 120), hap_index=(haplotypes + 2 * np.arange(6)).astype("i4"),
        reference_row=np.arange(0, 12, 2).astype("i4"), dosage=dosage.astype(np.int8),
        missing=np.zeros((120, 6), bool), cluster=np.arange(120),
        variants=np.array([f"v{i}" for i in range(6)]), variant_contig=np.array(["chr1"] * 6),
        variant_row=np.arange(1, 12, 2).astype("i4"),
        variant_reference=np.arange(0, 12, 2).astype("i4"),
    )  # fmt: skip
    info = {
        "task": "disease", "dataset": "c", "kind": "cohort", "classes": ["control", "case"],
        "uses_regions": False, "strand_specific": False, "block_bp": 0, "n_in": 6, "dropped": {},
        "captions": {},
    }  # fmt: skip
    paths = (tmp_path / "dataset.parquet", tmp_path / "dataset.json", tmp_path / "leaks.tsv")
    write_dataset(pd.DataFrame(rows), info, *paths, leaks())
    return tmp_path


def weights(folder: Path, objectives: tuple[str, ...] = ("mgm", "ngsp", "srm")) -> list[str]:
    """Write two random models as if pre-trained."""
    config = ModelConfig.from_pretrain(PRETRAIN, 2)
    for seed in (1, 2):
        pretrained.save(folder / f"seed-{seed}", GeneBert(config, seed), objectives=objectives)
    return [str(folder / f"seed-{seed}" / "model.safetensors") for seed in (1, 2)]


def run(
    folder: Path, model: str, kind: str, effort: dict[str, Any] = EFFORT, **trained: Any
) -> tuple[pd.DataFrame, dict[str, Any]]:
    needs = model.startswith("genebert") or model == "dosage-lr-weighted"
    predict.predict(
        dataset=str(folder / "dataset.parquet"), description=str(folder / "dataset.json"),
        cohort=[str(folder / "cohort.npz")] if kind == "cohort" else [], motif_set="m", shards="s",
        weights=weights(folder, **trained) if needs else [], predictions=str(folder / "predictions.parquet"),
        fit=str(folder / "fit.json"), model=model, effort=effort, pretrain=PRETRAIN, seed=1,
        threads=1,
    )  # fmt: skip
    return (
        pd.read_parquet(folder / "predictions.parquet"),
        json.loads((folder / "fit.json").read_text()),
    )


NEURAL = {"llr", "embedding", "accessibility"}


@pytest.mark.parametrize(
    ("model", "tracks", "seeds"),
    [
        ("genebert", NEURAL, [(1, 1), (2, 1)]),
        ("genebert-sequence", NEURAL, [(1, 1), (2, 1)]),
        ("scratch", NEURAL, [(1, 1), (2, 1)]),
        ("cnn", {"embedding", "accessibility"}, [(0, 1)]),
        ("kmer-lr", {"accessibility"}, [(0, 1)]),
        ("motif-lr", {"accessibility", "motif"}, [(0, 1)]),
        ("gc", {"accessibility"}, [(0, 1)]),
        ("context-lr", {"motif"}, [(0, 1)]),
        ("accessibility", set(), [(0, 1)]),
        ("tss-distance", set(), [(0, 1)]),
        ("oracle", set(), [(0, 1)]),
    ],
)
def test_tracks_and_seeds_of_variants(
    variants: Path, model: str, tracks: set[str], seeds: list[tuple[int, int]]
) -> None:
    frame, info = run(variants, model, "variants")
    assert set(frame["track"]) == {"supervised"} | {f"zeroshot:{name}" for name in tracks}
    assert set(frame["model"]) == {model}
    assert sorted({*zip(frame["pretrain_seed"], frame["finetune_seed"], strict=True)}) == seeds
    tests = frame[frame["split"] == "test"]
    for _, part in tests.groupby(["track", "pretrain_seed", "finetune_seed"]):
        assert sorted(part["item"]) == sorted(f"v{i}" for i in range(120))
    assert np.isfinite(frame["score"]).all()
    assert set(frame.loc[frame["split"] == "valid", "track"]) <= {"supervised"}
    assert info["pretraining"] == {"genebert": "full", "genebert-sequence": "sequence"}.get(model)
    assert info["n_train"] == 120
    zero = frame.loc[frame["track"].str.startswith("zeroshot"), "score"]
    assert (zero >= 0).all()  # no direction


@pytest.mark.parametrize("model", ["genebert", "scratch", "cnn"])
def test_networks_are_given_the_change_of_their_embedding(
    variants: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    given = []
    plain = disease_models.variant_models.leave_out
    monkeypatch.setattr(
        disease_models.variant_models,
        "leave_out",
        lambda problem, blocks: given.append(blocks) or plain(problem, blocks),
    )
    found, info = run(variants, model, "variants")
    for blocks in given:
        assert blocks.reduced is not None
        assert blocks.reduced.any()
    assert info["n_parameters"] == given[0].count() + 1
    distance = found.loc[found["track"] == "zeroshot:embedding", "score"]
    change = np.concatenate([np.linalg.norm(blocks.reduced, axis=1) for blocks in given])
    np.testing.assert_allclose(np.sort(distance), np.sort(change), rtol=1e-4)


def test_the_vector_of_the_network_is_the_mean_of_both_strands() -> None:
    import torch

    from genebert import accessibility_cnn
    from genebert.cnn import SequenceCnn
    from genebert.genome import reverse_complement

    torch.manual_seed(1)
    network = SequenceCnn(outputs=3).eval()
    text = decode(np.random.default_rng(1).integers(0, 4, 60).astype(np.uint8))
    other = decode(reverse_complement(encode(text)))
    vectors = accessibility_cnn.embed(network, [text, other])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    forward = accessibility_cnn.embed(network, [text, other], both_strands=False)
    logits = accessibility_cnn.read_out(network, forward).mean(axis=0)
    np.testing.assert_allclose(accessibility_cnn.read_out(network, vectors)[0], logits, atol=1e-5)


def test_no_likelihoods_of_an_encoder_that_never_guessed_bases(variants: Path) -> None:
    frame, _ = run(variants, "genebert-reading", "variants", objectives=("srm", "motif"))
    assert set(frame["track"]) == {"supervised", "zeroshot:embedding", "zeroshot:accessibility"}


def area(frame: pd.DataFrame, track: str) -> float:
    from genebert.metrics import auroc

    part = frame[(frame["track"] == track) & (frame["split"] == "test")]
    label = part["item"].str[1:].astype(int) % 4 == 0
    return auroc(label.to_numpy(float), part["score"].to_numpy())


def test_motif_model_sees_the_broken_site(variants: Path) -> None:
    frame, _ = run(variants, "motif-lr", "variants")
    for track in ("supervised", "zeroshot:motif", "zeroshot:accessibility"):
        assert area(frame, track) > 0.95


@pytest.mark.parametrize("model", ["motif-lr", "context-lr"])
def test_an_indel_changes_no_site_that_it_does_not_touch(variants: Path, model: str) -> None:
    """A site at the end of the window, pushed out of it by insertions and into it by deletions."""
    frame = pd.read_parquet(variants / "dataset.parquet")
    middle, size = WIDTH // 2, 6
    for row in frame.index:
        text = frame.loc[row, "sequence"].replace(SITE, "C" * len(SITE)).replace("GATA", "CCCC")
        if row % 2:
            text = plant(text, WIDTH - len(SITE) - 1)
            ref, alt = text[middle], text[middle] + "C" * size
            other = text[:middle] + alt + text[middle + 1 : -size]
        else:
            longer = plant(text + "C" * size, WIDTH - 4)
            text, ref, alt = longer[:WIDTH], longer[middle : middle + size + 1], longer[middle]
            other = longer[: middle + 1] + longer[middle + size + 1 :]
        assert (SITE in text) != (SITE in other)
        frame.loc[row, ["sequence", "alternative", "ref", "alt"]] = [text, other, ref, alt]
    frame["cell_type"], frame["region"] = "B", 0  # which is open there
    frame.to_parquet(variants / "dataset.parquet", index=False)
    found, _ = run(variants, model, "variants")
    zero = found[found["track"].isin(["zeroshot:motif", "zeroshot:accessibility"])]
    assert np.allclose(zero["score"], 0, atol=1e-9)


def test_effects_keep_their_sign(variants: Path) -> None:
    info = json.loads((variants / "dataset.json").read_text())
    frame = pd.read_parquet(variants / "dataset.parquet")
    frame["label"] = np.where(frame["label"] == 1, -1.0, 0.1)
    frame.to_parquet(variants / "dataset.parquet", index=False)
    (variants / "dataset.json").write_text(json.dumps({**info, "label": "effect"}))
    found, _ = run(variants, "motif-lr", "variants")
    part = found[found["track"] == "zeroshot:accessibility"].set_index("item")["score"]
    assert part.min() < 0
    assert np.corrcoef(part.loc[frame["item"]], frame["label"])[0, 1] > 0.7


def test_unlikely_alleles_score_high_where_only_loss_counts(variants: Path) -> None:
    both, _ = run(variants, "scratch", "variants")
    info = json.loads((variants / "dataset.json").read_text())
    (variants / "dataset.json").write_text(json.dumps({**info, "direction": "loss"}))
    loss, _ = run(variants, "scratch", "variants")
    a, b = (f.loc[f["track"] == "zeroshot:llr", "score"].to_numpy() for f in (both, loss))
    np.testing.assert_allclose(np.abs(b), a)
    assert (b < 0).any()


def test_oracle_fills_what_is_unknown_with_the_mean(variants: Path) -> None:
    frame, _ = run(variants, "oracle", "variants")
    np.testing.assert_allclose(frame["score"], 0.9)


def test_a_score_that_the_labels_bring_is_a_model(variants: Path) -> None:
    frame = pd.read_parquet(variants / "dataset.parquet")
    frame["score_maf"] = np.where(frame["label"] == 1, 0.01, 0.2) + np.linspace(0, 0.1, 120)
    frame.loc[:29, "score_maf"] = np.nan
    frame.to_parquet(variants / "dataset.parquet", index=False)
    info = json.loads((variants / "dataset.json").read_text())
    info["scores"] = {"maf": {"sign": -1, "unknown": 30}}
    (variants / "dataset.json").write_text(json.dumps(info))
    found, fit = run(variants, "maf", "variants")
    assert set(found["track"]) == {"supervised", "zeroshot:given"}
    assert np.isfinite(found["score"]).all()
    assert fit["unknown"] == 30
    known = found[found["item"].isin(frame["item"][30:])]
    assert area(known, "supervised") > 0.95
    assert area(known, "zeroshot:given") > 0.95  # small values score high
    score = found[found["track"] == "zeroshot:given"].set_index("item")["score"]
    np.testing.assert_allclose(score[frame["item"][:30]], -frame["score_maf"].median())


def test_unknown_distances_make_a_constant_model(variants: Path) -> None:
    frame = pd.read_parquet(variants / "dataset.parquet")
    frame["tss_distance"] = np.nan
    frame.to_parquet(variants / "dataset.parquet", index=False)
    found, info = run(variants, "tss-distance", "variants")
    assert np.ptp(found["score"]) < 1e-9
    assert info["unknown"] == 120
    assert info["collapsed"] == 0  # a regression is no training run


def test_a_network_that_scores_all_alike_is_a_collapsed_run() -> None:
    network = [
        disease_models.rows_of(["a", "b"], np.array(score), model="cnn", track=track)
        for track, score in (("supervised", [0.1, 0.2]), ("zeroshot:accessibility", [0.3, 0.3]))
    ]
    runs = disease_models.training_runs(pd.concat(network))
    assert {run["track"]: run["collapsed"] for run in runs} == {
        "supervised": False,
        "zeroshot:accessibility": True,
    }
    json.dumps(runs)


@pytest.mark.parametrize(
    "model",
    ["genebert", "scratch", "kmer-lr", "motif-lr", "gc", "covariates", "dosage-lr",
     "dosage-lr-weighted", "oracle"],
)  # fmt: skip
def test_people_of_a_cohort(cohort: Path, model: str) -> None:
    frame, info = run(cohort, model, "cohort")
    seeds = 2 if model in ("genebert", "scratch", "dosage-lr-weighted") else 1
    tests = frame[frame["split"] == "test"]
    assert set(tests["track"]) == {"", "lopo"}
    for _, part in tests.groupby(["track", "pretrain_seed", "finetune_seed"]):
        assert sorted(part["item"]) == [f"p{i:03d}" for i in range(120)]
    assert len(tests) == 2 * 120 * seeds
    assert frame["score"].between(0, 1).all()
    if model != "oracle":
        assert info["permutation"]["low"] < 0.5 < info["permutation"]["high"] + 0.05
        assert set(frame["split"]) == {"test", "valid"}
        assert ("folds/2/1" if seeds == 2 else "lopo/0/1") in info["chosen"]


@pytest.mark.parametrize("model", ["cnn", "gc"])
def test_every_person_is_scored_once_by_each_fine_tuning_seed(cohort: Path, model: str) -> None:
    frame, info = run(cohort, model, "cohort", {**EFFORT, "finetune_seeds": 2})
    assert not frame.duplicated(["track", "pretrain_seed", "finetune_seed", "split", "item"]).any()
    assert set(frame["finetune_seed"]) == {1, 2}
    assert len(frame) == 2 * 2 * 2 * 120  # tracks, seeds, splits, people
    assert len(info["chosen"]) == 4


def test_the_network_of_a_cohort_reads_one_strand(
    cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genebert import accessibility_cnn

    strands = []
    plain = accessibility_cnn.embed
    monkeypatch.setattr(
        accessibility_cnn, "embed", lambda *given: strands.append(given[2]) or plain(*given)
    )
    run(cohort, "cnn", "cohort")
    assert set(strands) == {False}


def test_who_knows_the_causal_variant(cohort: Path) -> None:
    from genebert.metrics import auroc

    with np.load(cohort / "cohort.npz") as file:
        labels = pd.Series(file["labels"], file["samples"])
    found = {}
    for model in ("motif-lr", "dosage-lr", "covariates"):
        frame, _ = run(cohort, model, "cohort")
        part = frame[(frame["split"] == "test") & (frame["track"] == "")].set_index("item")
        found[model] = auroc(labels.to_numpy(float), part.loc[labels.index, "score"].to_numpy())
    # only element 0 changes the site; half of the risk is noise
    assert found["motif-lr"] > 0.75
    assert found["dosage-lr"] > 0.75
    assert found["covariates"] < 0.65


@pytest.mark.parametrize(("features", "columns"), [("openness", 8), ("embedding", 4)])
def test_no_genotype_of_one_reaches_the_features_of_others(
    cohort: Path, monkeypatch: pytest.MonkeyPatch, features: str, columns: int
) -> None:
    """With more training cell types than axes, which nobody's haplotypes may turn."""
    weights = np.random.default_rng(3).normal(size=(4, 12))

    def count(texts: Sequence[str]) -> np.ndarray:
        return np.array([[t.count(x) for x in "ACGT"] for t in texts], np.float32)

    model = AccessibilityModel(
        encoder=count,
        head=lambda x: np.tanh(x @ weights / WIDTH),
        cell_types=tuple(f"cell {i}" for i in range(12)), alpha=1.0, valid_auroc=0.5,
    )  # fmt: skip
    start = disease_models.Start(0, 1, model, None)
    monkeypatch.setattr(disease_models, "starts", lambda job, **_: iter([start]))
    job = disease_models.Job(
        model="cnn", dataset="", description="", motif_set="m", shards="s", weights=[], effort={},
        pretrain={}, seed=1, threads=1,
    )  # fmt: skip
    frame = pd.read_parquet(cohort / "dataset.parquet")
    people = disease_models.read_cohort([str(cohort / "cohort.npz")], "c")
    *_, before = next(disease_models.cohort_designs(job, frame, people, features))
    own = frame.iloc[[0]].assign(item="own", sequence="A" * WIDTH)
    changed = people["hap_index"].copy()
    changed[0, :, 0] = len(frame)
    people = {**people, "hap_index": changed}
    *_, after = next(disease_models.cohort_designs(job, pd.concat([frame, own]), people, features))
    assert before is not None
    assert after is not None
    assert before.shape == (120, 6 * columns)
    np.testing.assert_array_equal(after[1:], before[1:])
    assert (after[0] != before[0]).any()


def change(folder: Path, **changes: np.ndarray) -> None:
    """Write other arrays into the toy's genotypes."""
    with np.load(folder / "cohort.npz") as file:
        arrays = {name: file[name] for name in file.files}
    np.savez_compressed(folder / "cohort.npz", **{**arrays, **changes})


def test_elements_with_missing_calls_are_unknown_to_models_of_sequences(
    cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = np.zeros((120, 6), dtype=bool)
    missing[7, 2] = missing[9, 0] = True
    change(cohort, missing=missing)
    seen = []
    plain = disease_models.cm.make_folds
    monkeypatch.setattr(
        disease_models.cm, "make_folds", lambda x, *rest: seen.append(x) or plain(x, *rest)
    )
    frame, _ = run(cohort, "motif-lr", "cohort")
    assert np.isfinite(frame["score"]).all()
    for x in seen:
        np.testing.assert_array_equal(np.isnan(x).reshape(120, 6, -1).all(axis=2), missing)


def test_relatives_in_two_populations_are_tested_but_choose_nothing(cohort: Path) -> None:
    cluster = np.arange(120)
    cluster[[10, 11]] = 10  # the populations alternate
    change(cohort, cluster=cluster)
    frame, _ = run(cohort, "dosage-lr", "cohort")
    lopo = frame[frame["track"] == "lopo"]
    assert np.isfinite(frame["score"]).all()
    assert len(lopo[lopo["split"] == "test"]) == 120
    assert set(lopo["item"]) - set(lopo.loc[lopo["split"] == "valid", "item"]) == {"p010", "p011"}


def test_one_population_has_no_track_of_its_own(cohort: Path) -> None:
    change(cohort, population=np.array([""] * 120))
    frame, _ = run(cohort, "covariates", "cohort")
    assert set(frame["track"]) == {""}


@pytest.mark.parametrize(
    ("kind", "model", "change", "message"),
    [
        ("variants", "pwm", None, "no accessibility read-out; found 'pwm'"),
        ("cohort", "tss-distance", None, "no accessibility read-out; found 'tss-distance'"),
        ("variants", "oracle", "oracle", "no true probabilities for the model 'oracle'"),
        ("cohort", "covariates", "npz", "cannot be read as a cohort"),
    ],
)
def test_what_cannot_be_done_is_a_one_line_error(
    request: pytest.FixtureRequest, kind: str, model: str, change: str | None, message: str
) -> None:
    folder = request.getfixturevalue(kind)
    if change == "npz":
        (folder / "cohort.npz").write_bytes(b"PK\x03\x04 no archive")
    elif change:
        frame = pd.read_parquet(folder / "dataset.parquet")
        frame[change] = np.nan
        frame.to_parquet(folder / "dataset.parquet", index=False)
    with pytest.raises(InputError, match=message) as caught:
        run(folder, model, kind)
    assert "\n" not in str(caught.value)
    assert not (folder / "predictions.parquet").exists()


def test_a_model_without_its_weights(variants: Path) -> None:
    with pytest.raises(InputError, match="needs pre-trained weights"):
        predict.predict(
            dataset=str(variants / "dataset.parquet"), description=str(variants / "dataset.json"),
            cohort=[], motif_set="m", shards="s", weights=[], predictions="p", fit="f",
            model="genebert", effort=EFFORT, pretrain=PRETRAIN, seed=1, threads=1,
        )  # fmt: skip
