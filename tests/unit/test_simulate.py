"""The simulated genome: formats, truth, the statistics it promises, negative controls."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pysam
import pytest

from genebert.errors import InputError
from genebert.genome import Genome, decode, encode, reverse_complement
from genebert.metrics import auroc
from genebert.simulate import NAMES, motifs, simulate, tree
from genebert.simulate.atlas import build_atlas
from genebert.simulate.build import build_genome
from genebert.simulate.cells import sigmoid
from genebert.simulate.parameters import Parameters, Settings, stream
from genebert.simulate.variants import World, effects, strength_with, substitution_class

SETTINGS: dict[str, Any] = {
    "contigs": ["chr1", "chr2", "chr3"],
    "contig_length": 600_000,
    "cell_types": ["HSC", "GMP", "Mono", "Ery", "B", "NK"],
    "cell_type_tree": "(HSC:1,((GMP:1,Mono:6):1,Ery:1):1,(B:0.2,NK:0.2):2);",
    "chip_tfs": ["CTCF", "SPI1", "GATA1"],
    "regions_per_mb": 500,
    "genes_per_mb": 50,
    "variants": {"causal": 12},
    "cohort": {"individuals": 200, "causal": 6, "variants": 120, "heritability": 0.5},
    "null_context": False,
    "null_labels": False,
}
TINY = SETTINGS | {
    "contigs": ["chr1"],
    "cell_types": ["HSC", "B", "NK"],
    "cell_type_tree": "(HSC,(B,NK));",
    "chip_tfs": ["SPI1"],
    "variants": {"causal": 3},
    "cohort": {"individuals": 40, "causal": 2, "variants": 50, "heritability": 0.5},
}
P = Parameters()


def outputs(root: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the output paths below ``root``, laid out as in the workflow."""
    for folder in ("peaks", "chip", "truth"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    cells, tfs = settings["cell_types"], settings["chip_tfs"]
    truth = ("promoters", "binding", "openness", "splicing", "variants", "cohort", "sites")
    return {
        "genome": str(root / "genome.fa"),
        "gtf": str(root / "genes.gtf"),
        "blacklist": str(root / "blacklist.bed"),
        "promoters": str(root / "promoters.bed"),
        "motifs": str(root / "motifs.meme"),
        "cell_types": str(root / "cell_types.tsv"),
        "peaks": [str(root / f"peaks/{c}.narrowPeak") for c in cells],
        "chip": str(root / "chip.tsv"),
        "chip_peaks": [str(root / f"chip/{t}.{c}.narrowPeak") for t in tfs for c in cells],
        "variants": str(root / "variants.tsv"),
        "cohort": str(root / "cohort.vcf.gz"),
        "cohort_index": str(root / "cohort.vcf.gz.tbi"),
        "phenotypes": str(root / "phenotypes.tsv"),
        **{f"truth_{name}": str(root / f"truth/{name}.tsv") for name in truth},
        "truth_parameters": str(root / "truth/parameters.json"),
    }


def run(root: Path, settings: dict[str, Any], seed: int = 3) -> Path:
    simulate(**outputs(root, settings), settings=settings, seed=seed)
    return root


def content(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = run(tmp_path_factory.mktemp("simulated"), SETTINGS)
    pysam.faidx(str(root / "genome.fa"))
    return root


@pytest.fixture(scope="module")
def genome(made: Path) -> Genome:
    return Genome(made / "genome.fa")


@pytest.fixture(scope="module")
def report(made: Path) -> dict[str, Any]:
    return dict(json.loads((made / "truth/parameters.json").read_text()))


@pytest.fixture(scope="module")
def world() -> World:
    settings = Settings.from_config(TINY, NAMES)
    panel = motifs.load_panel(P)
    built = build_genome(settings, P, panel, 500, 5)
    atlas = build_atlas(built, settings, P, panel, 5)
    return World(
        built.codes,
        built.layout.map,
        built.regions,
        panel,
        built.sites,
        atlas.strength,
        atlas.pairs,
        atlas.cells,
        atlas.openness,
        P,
    )


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", keep_default_na=False)


def oriented(genome: Genome, row: Any, left: int, right: int) -> np.ndarray:
    """Codes from ``left`` bases before a stranded position to ``right`` after it, 5' to 3'."""
    at = int(row.position)
    if row.strand == "+":
        return genome.window(row.contig, at - left, at + right + 1)
    return reverse_complement(genome.window(row.contig, at - right, at + left + 1))


def introns(path: Path) -> tuple[set[tuple[str, int, str]], set[tuple[str, int, str]]]:
    """Return donors (first intron base) and acceptors (last) of a GTF, 0-based."""
    exons = defaultdict(list)
    for line in path.read_text().splitlines():
        fields = line.split("\t")
        if fields[2] == "exon":
            name = re.search('transcript_id "([^"]+)"', fields[8])[1]  # type: ignore[index]
            exons[name].append((int(fields[3]) - 1, int(fields[4]), fields[0], fields[6]))
    ends: tuple[set[tuple[str, int, str]], set[tuple[str, int, str]]] = (set(), set())
    for parts in exons.values():
        parts.sort()
        for left, right in zip(parts, parts[1:], strict=False):
            first, last = (0, 1) if left[3] == "+" else (1, 0)
            ends[first].add((left[2], left[1], left[3]))
            ends[last].add((left[2], right[0] - 1, left[3]))
    return ends


# --- formats -----------------------------------------------------------------------------------


def test_genome_has_contigs_gaps_repeats_and_composition(genome: Genome) -> None:
    assert genome.lengths == dict.fromkeys(SETTINGS["contigs"], SETTINGS["contig_length"])
    raw = np.concatenate([genome.raw(c, 0, n) for c, n in genome.lengths.items()])
    codes = np.concatenate([genome.codes(c, 0, n) for c, n in genome.lengths.items()])
    known = codes < 4
    assert set(np.unique(raw)) <= set(b"ACGTNacgt")
    assert 0.01 < 1 - known.mean() < 0.08
    assert 0.25 < (raw[known] >= ord("a")).mean() < 0.5
    assert 0.40 < np.isin(codes[known], (1, 2)).mean() < 0.52
    pairs = codes[:-1].astype(int) * 4 + codes[1:]
    share = np.bincount(pairs[(codes[:-1] < 4) & (codes[1:] < 4)], minlength=16) / len(pairs)
    cg = (codes == 1).mean() * (codes == 2).mean()
    assert share[1 * 4 + 2] / cg < 0.7  # CpG depletion


def test_background_is_of_order_three() -> None:
    from genebert.simulate.sequence import transition_tables

    tables = transition_tables(P, stream(1, "sequence"))
    assert tables.shape == (6, 64, 4)
    np.testing.assert_allclose(tables.sum(axis=2), 1)
    by_third = tables[0].reshape(4, 16, 4)
    assert np.abs(by_third - by_third.mean(axis=0)).max() > 0.03  # the third base back matters


def test_repeats_lie_in_open_and_closed_sequence(made: Path, genome: Genome) -> None:
    regions = table(made / "truth/binding.tsv")[["contig", "start", "end"]].drop_duplicates()
    inside = np.concatenate([genome.repeats(*row) for row in regions.itertuples(index=False)])
    assert 0.08 < inside.mean() < 0.4
    closed = np.ones(genome.lengths["chr1"], dtype=bool)
    for row in regions[regions.contig == "chr1"].itertuples(index=False):
        closed[row.start : row.end] = False
    assert genome.repeats("chr1", 0, len(closed))[closed].mean() > inside.mean()


def test_tables_point_to_the_peak_files(made: Path) -> None:
    cells = table(made / "cell_types.tsv")
    assert cells.cell_type.tolist() == SETTINGS["cell_types"]
    assert cells.peaks.tolist() == [f"peaks/{c}.narrowPeak" for c in SETTINGS["cell_types"]]
    assert set(cells.format) == {"narrowPeak"}
    chip = table(made / "chip.tsv")
    assert list(chip.columns) == ["tf", "cell_type", "peaks"]
    assert len(chip) == len(SETTINGS["chip_tfs"]) * len(SETTINGS["cell_types"])
    assert all((made / path).exists() for path in [*cells.peaks, *chip.peaks])


def test_narrow_peaks_are_sorted_inside_their_contig_and_hold_their_summit(made: Path) -> None:
    for path in [*made.glob("peaks/*"), *made.glob("chip/*")]:
        peaks = pd.read_csv(path, sep="\t", header=None)
        assert peaks.shape[1] == 10
        assert (peaks[1] >= 0).all()
        assert (peaks[2] <= SETTINGS["contig_length"]).all()
        assert ((peaks[9] >= 0) & (peaks[9] < peaks[2] - peaks[1])).all()
        assert ((peaks[4] >= 1) & (peaks[4] <= 1000)).all()
        assert not peaks.sort_values([0, 1], kind="stable").index.has_duplicates
        assert peaks.index.equals(peaks.sort_values([0, 1], kind="stable").index)


def test_blacklist_is_bed4(made: Path) -> None:
    bed = pd.read_csv(made / "blacklist.bed", sep="\t", header=None)
    assert bed.shape[1] == 4
    assert (bed[1] < bed[2]).all()


def test_motifs_are_meme_with_the_names_of_the_factors(made: Path) -> None:
    text = (made / "motifs.meme").read_text()
    assert text.startswith("MEME version 4")
    names = re.findall(r"^MOTIF (\S+) (MA\d+\.\d+)$", text, flags=re.M)
    assert 30 <= len(names) <= 60
    assert {"CTCF", "SPI1", "GATA1", "CEBPA", "EBF1", "RUNX1"} <= {name for name, _ in names}
    for block in text.split("MOTIF ")[1:]:
        rows = [line.split() for line in block.splitlines()[2:] if line.strip()]
        assert len(rows) == int(re.search(r"w= (\d+)", block)[1])  # type: ignore[index]
        np.testing.assert_allclose(np.array(rows, dtype=float).sum(axis=1), 1, atol=2e-6)


def test_gtf_has_genes_transcripts_and_exons(made: Path) -> None:
    lines = [line.split("\t") for line in (made / "genes.gtf").read_text().splitlines()]
    kinds = pd.Series([fields[2] for fields in lines]).value_counts()
    assert kinds["gene"] == 90
    assert kinds["gene"] < kinds["transcript"] < 2 * kinds["gene"]
    for fields in lines:
        assert len(fields) == 9
        assert 'gene_type "protein_coding";' in fields[8]
        assert int(fields[3]) <= int(fields[4])


def test_variants_have_the_reference_base(made: Path, genome: Genome) -> None:
    for name in ("variants.tsv", "truth/variants.tsv"):
        rows = table(made / name)
        for row in rows.itertuples(index=False):
            assert decode(genome.codes(row.contig, row.position - 1, row.position)) == row.ref
            assert row.alt in set("ACGT") - {row.ref}
    assert not rows.duplicated(["contig", "position"]).any()


def test_cohort_is_an_indexed_phased_vcf_on_the_reference(made: Path, genome: Genome) -> None:
    vcf = pysam.VariantFile(str(made / "cohort.vcf.gz"))
    samples = table(made / "phenotypes.tsv")
    assert list(vcf.header.samples) == samples["sample"].tolist()
    records = list(vcf)
    assert len(records) == SETTINGS["cohort"]["variants"]
    indels = 0
    for record in records:
        start = record.start
        assert decode(genome.codes(record.contig, start, start + len(record.ref))) == record.ref
        assert len(record.alts) == 1
        indels += len(record.ref) != len(record.alts[0])
        for call in record.samples.values():
            assert call.phased or call["GT"] == (None, None)
    assert 0 < indels < 0.1 * len(records)
    positions = [(record.contig, record.start) for record in records]
    assert positions == sorted(set(positions))
    assert len(list(vcf.fetch("chr2"))) == sum(contig == "chr2" for contig, _ in positions)


# --- truth -------------------------------------------------------------------------------------


def test_labelled_promoters_are_gene_starts_with_an_initiator(made: Path, genome: Genome) -> None:
    bed = pd.read_csv(made / "promoters.bed", sep="\t", header=None)
    assert bed.shape[1] == 8
    assert (bed[2] - bed[1] == 60).all()
    position = np.where(bed[5] == "+", bed[6], bed[7] - 1)
    tss = pd.DataFrame({"contig": bed[0], "position": position, "strand": bed[5]})
    starts = set()
    for line in (made / "genes.gtf").read_text().splitlines():
        fields = line.split("\t")
        if fields[2] == "gene":
            at = int(fields[3]) - 1 if fields[6] == "+" else int(fields[4]) - 1
            starts.add((fields[0], at, fields[6]))
    assert set(tss.itertuples(index=False, name=None)) == starts
    windows = np.stack([oriented(genome, row, 3, 3) for row in tss.itertuples()])
    initiator = np.isin(windows[:, 2], (1, 3)) & np.isin(windows[:, 3], (0, 2))
    neighbour = np.isin(windows[:, 3], (1, 3)) & np.isin(windows[:, 4], (0, 2))
    assert initiator.mean() > 0.65
    assert neighbour.mean() < 0.5


def test_promoter_truth_is_calibrated_and_has_unlabelled_candidates(made: Path) -> None:
    bed = pd.read_csv(made / "promoters.bed", sep="\t", header=None)
    labelled = set(zip(bed[0], np.where(bed[5] == "+", bed[6], bed[7] - 1), bed[5], strict=True))
    truth = table(made / "truth/promoters.tsv")
    keys = zip(truth.contig, truth.position, truth.strand, strict=True)
    label = np.array([key in labelled for key in keys])
    assert label.sum() == len(bed) < len(truth)
    assert truth.probability.mean() == pytest.approx(label.mean(), abs=0.08)
    assert 0.75 < auroc(label, truth.probability.to_numpy()) < 0.98


def test_splice_sites_have_their_dinucleotides_and_calibrated_truth(
    made: Path, genome: Genome
) -> None:
    truth = table(made / "truth/splicing.tsv")
    donors, acceptors = introns(made / "genes.gtf")
    for kind, used, letters, offset in (
        ("donor", donors, encode("GT"), 0),
        ("acceptor", acceptors, encode("AG"), -1),
    ):
        rows = truth[truth["class"] == kind]
        found = np.stack([oriented(genome, row, 1, 1) for row in rows.itertuples()])
        ends = found[:, 1:] if offset == 0 else found[:, :2]
        assert (ends == letters).all(axis=1).mean() > 0.98
        keys = list(zip(rows.contig, rows.position, rows.strand, strict=True))
        label = np.array([key in used for key in keys])
        assert used <= set(keys)
        assert not label.all()
        assert rows.probability.mean() == pytest.approx(label.mean(), abs=0.05)
        assert 0.8 < auroc(label, rows.probability.to_numpy()) < 0.98


def test_planted_sites_score_as_their_motif(made: Path, genome: Genome) -> None:
    sites = table(made / "truth/sites.tsv")
    panel = motifs.load_panel(P)
    rng = np.random.default_rng(0)
    for row in sites.sample(400, random_state=1).itertuples():
        motif = panel.motifs[panel.index(row.motif)]
        codes = genome.codes(row.contig, row.start, row.end)
        codes = codes if row.strand == "+" else reverse_complement(codes)
        assert motif.strength(codes[None])[0] == pytest.approx(row.strength, abs=1e-4)
        chance = motif.strength(rng.integers(0, 4, size=(200, motif.width)).astype(np.uint8))
        assert row.strength > np.median(chance)
    inside = sites[sites["class"] == "site"]
    per_region = inside.groupby(["contig", "region_start"]).size()
    assert per_region.min() >= 2
    assert per_region.max() <= 8
    assert (inside.start >= inside.region_start).all()
    assert (inside.end <= inside.region_end).all()
    assert (sites["class"] == "decoy").mean() > 0.3
    assert inside.strength.std() > 1  # graded


def test_peaks_follow_the_open_regions(made: Path, report: dict[str, Any]) -> None:
    regions = report["achieved"]["regions"]
    for name, count in regions["open_per_cell_type"].items():
        called = regions["peaks_per_cell_type"][name]
        assert 0.75 * count < called < 1.1 * count


def test_statistics_of_the_regions(report: dict[str, Any]) -> None:
    regions = report["achieved"]["regions"]
    assert 0.15 <= regions["constitutive"] <= 0.20
    assert regions["count"] == 900
    near = regions["nearest_type"]
    assert near["NK"][0] == "B"
    assert near["NK"][1] > 0.5 > near["Mono"][1]
    correlation = regions["profile_correlation"]
    assert correlation["500-2000"] > correlation["50000-200000"]
    assert correlation["500-2000"] > 0.15


def test_binding_is_discordant_and_follows_the_truth(report: dict[str, Any]) -> None:
    for name, factor in report["achieved"]["binding"].items():
        assert factor["discordant_share"] >= 0.25, name
        assert 0.8 < factor["oracle_auroc"] < 0.995, name
        assert 0.1 < factor["regions_with_site"] < 0.4, name


def test_motif_content_of_open_regions_follows_the_activity(world: World) -> None:
    opened = world.openness.open
    occupied = sigmoid(world.strength)
    content = np.stack([occupied[opened[:, c]].mean(axis=0) for c in range(opened.shape[1])])
    lineage = ~world.panel.housekeeping
    shift = (content - content.mean(axis=0))[:, lineage]
    activity = (world.cells.active - world.cells.active.mean(axis=0))[:, lineage]
    assert np.corrcoef(shift.ravel(), activity.ravel())[0, 1] > 0.5


def test_each_causal_variant_has_nine_matched_neutrals(made: Path, genome: Genome) -> None:
    rows, truth = table(made / "variants.tsv"), table(made / "truth/variants.tsv")
    assert len(rows) == 10 * SETTINGS["variants"]["causal"]
    codes = {c: genome.codes(c, 0, n) for c, n in genome.lengths.items()}
    rows["mutation"] = [
        substitution_class(codes[r.contig], np.array([r.position - 1]), encode(r.alt))[0]
        for r in rows.itertuples()
    ]
    for _, group in rows.groupby("match"):
        counts = group["class"].value_counts()
        assert counts["causal"] == 1
        assert set(counts.drop("causal")) == {3}
        assert len(counts) == 4
        assert group.label.sum() == 1
        assert group.mutation.nunique() == 1
        assert group.cell_type.nunique() == 1
    assert set(rows.cell_type) == {"GMP", "Ery", "NK"}
    effect = truth.effect.abs()
    assert effect[rows.label == 1].mean() > 0.4
    assert effect[rows["class"] == "inactive"].mean() < 0.05
    assert truth.probability.mean() == pytest.approx(0.1, abs=0.02)
    assert 0.85 < auroc(rows.label.to_numpy(), truth.probability.to_numpy()) < 1


def test_a_variant_changes_binding_by_the_sites_that_it_makes_or_breaks(world: World) -> None:
    """Placement by placement, in plain Python; no factor without a site gains by any variant."""
    rng = np.random.default_rng(2)
    cell = 0
    opened = np.flatnonzero(world.openness.open[:, cell])
    region = rng.choice(opened, size=60)
    position = world.regions.start[region] + rng.integers(30, 470, size=60)
    alt = ((world.codes[position] + 1) % 4).astype(np.uint8)
    changed = strength_with(world, region, position, alt)
    for i in range(0, 60, 6):
        window = world.codes[world.regions.start[region[i]] :][:500].copy()
        window[position[i] - world.regions.start[region[i]]] = alt[i]
        for m in range(0, len(world.panel.motifs), 5):
            motif = world.panel.motifs[m]
            total = 0.0
            for matrix in (motif.log_odds, motif.log_odds[::-1, ::-1]):
                padded = np.concatenate([matrix, np.full((motif.width, 1), -30.0)], axis=1)
                for at in range(500 - motif.width + 1):
                    word = window[at : at + motif.width]
                    score = padded[np.arange(motif.width), word].sum()
                    total += np.exp(motif.gain * score + motif.offset)
            assert changed[i, m] == pytest.approx(np.log(total), abs=1e-4)
    before = world.energies(world.strength[region], region, cell)
    after = world.energies(changed, region, cell)
    change = sigmoid(after) - sigmoid(before)
    found = effects(world, position, alt, np.full(60, cell))
    np.testing.assert_array_equal(np.abs(found), np.abs(change).max(axis=1))
    assert np.abs(found).max() > 0.1
    none = np.flatnonzero(~world.openness.open[:, cell])[:5]
    inside = world.regions.start[none] + 100
    assert not effects(world, inside, alt[:5], np.full(5, cell)).any()


def test_cohort_has_two_populations_and_an_oracle(made: Path, report: dict[str, Any]) -> None:
    people, truth = table(made / "phenotypes.tsv"), table(made / "truth/cohort.tsv")
    assert list(people.columns[:2]) == ["sample", "phenotype"]
    assert people.phenotype.sum() == 100
    by_population = people.groupby("population").phenotype.mean()
    assert len(by_population) == 2
    assert by_population["pop2"] > by_population["pop1"]  # higher prevalence
    assert report["achieved"]["cohort"]["mean_frequency_difference"] > 0.05
    assert 0.65 < auroc(people.phenotype.to_numpy(), truth.probability.to_numpy()) < 0.98
    dosage = np.array(
        [
            [sum(a or 0 for a in call["GT"]) for call in record.samples.values()]
            for record in pysam.VariantFile(str(made / "cohort.vcf.gz"))
        ]
    )
    assert (dosage.std(axis=1) > 0).mean() > 0.97
    r2 = np.corrcoef(dosage[dosage.std(axis=1) > 0]) ** 2
    assert np.diag(r2, 1).mean() > 3 * np.diag(r2, 40).mean()  # linkage disequilibrium
    causal = report["cohort_causal"]
    assert len(causal) == SETTINGS["cohort"]["causal"]


# --- reproducibility, controls, errors ---------------------------------------------------------


def test_same_seed_gives_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first, again = content(run(tmp_path / "a", TINY, 1)), content(run(tmp_path / "b", TINY, 1))
    assert first == again
    other = content(run(tmp_path / "c", TINY, 2))
    same = {name for name in first if first[name] == other[name]}
    assert same == {"cell_types.tsv", "chip.tsv", "motifs.meme"}


def test_null_context_makes_cell_types_alike(tmp_path: Path) -> None:
    root = run(tmp_path, TINY | {"null_context": True})
    achieved = json.loads((root / "truth/parameters.json").read_text())["achieved"]
    for factor in achieved["binding"].values():
        assert len(set(factor["activity"].values())) == 1
    truth = table(root / "truth/binding.tsv")
    spread = truth.groupby(["contig", "start", "tf"]).probability.agg(np.ptp)
    # what differs is only the share of the other factors' drive, of which the mean is taken off
    assert spread.max() < 1e-9


def test_null_labels_have_a_flat_oracle_and_no_signal(tmp_path: Path) -> None:
    root = run(tmp_path, TINY | {"null_labels": True})
    for name, value in (("promoters", 0.5), ("splicing", 0.5), ("variants", 0.1), ("cohort", 0.5)):
        assert set(table(root / f"truth/{name}.tsv").probability) == {value}
    assert table(root / "truth/binding.tsv").probability.nunique() == 1
    pysam.faidx(str(root / "genome.fa"))
    genome = Genome(root / "genome.fa")
    truth = table(root / "truth/splicing.tsv")
    windows = np.stack([oriented(genome, row, 2, 2) for row in truth.itertuples()])
    donor = (truth["class"] == "donor").to_numpy()
    # the bases beside the bound: a donor's position is behind it, an acceptor's before it
    at = np.where(donor, 0, 1)[:, None] + np.arange(4)
    bound = np.take_along_axis(windows, at, axis=1)
    gt = (bound[:, 2] == 2) & (bound[:, 3] == 3)
    ag = (bound[:, 0] == 0) & (bound[:, 1] == 2)
    assert (gt | ag).all()
    assert gt[donor].mean() == pytest.approx(gt[~donor].mean(), abs=0.2)
    donors, acceptors = introns(root / "genes.gtf")
    keys = set(zip(truth.contig, truth.position, truth.strand, strict=True))
    assert donors | acceptors == keys
    rows = table(root / "variants.tsv")
    assert (rows.groupby("match").label.sum() == 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell_type_tree": "(HSC,B);"}, "not in the tree"),
        ({"cell_type_tree": "(HSC,(B,NK);"}, "not a Newick tree"),
        ({"cell_type_tree": "(HSC,(B,(B,NK)));"}, "stands twice"),
        ({"chip_tfs": ["SPI2"]}, "did you mean 'SPI1'"),
        ({"contig_length": 50_000}, "contig_length"),
        ({"cell_types": ["HSC", "B", "B"]}, "cell_types"),
        ({"regions_per_mb": 1_200, "genes_per_mb": 70}, "no room"),
        ({"variants": {"causal": 3, "cell_types": ["T"]}}, "not simulated"),
        ({"variants": {"causal": 5_000}}, "larger genome"),
        ({"cohort": {"individuals": 40, "causal": 2, "variants": 50}}, "'heritability' is missing"),
    ],
)
def test_bad_settings_are_one_line_errors(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        run(tmp_path, TINY | change)
    assert "\n" not in str(caught.value)
    assert "simulate" in str(caught.value)


def test_tree_gives_correlations_by_shared_path() -> None:
    matrix = tree.correlation("((A:1,B:1):1,C:2);", ["A", "B", "C"])
    np.testing.assert_allclose(matrix, [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
    root = tree.factor(matrix)
    np.testing.assert_allclose(root @ root.T, matrix, atol=1e-9)


def test_score_at_reaches_the_p_value() -> None:
    motif = motifs.load_panel(P).motifs[0]
    rng = np.random.default_rng(0)
    codes = rng.choice(4, size=(400_000, motif.width), p=motifs.BACKGROUND).astype(np.uint8)
    scores = motif.log_odds[np.arange(motif.width), codes].sum(axis=1)
    threshold = motifs.score_at(motif.log_odds, 1e-2)
    assert (scores >= threshold).mean() == pytest.approx(1e-2, rel=0.1)


def test_sampled_sites_reach_their_target_strength() -> None:
    motif = motifs.load_panel(P).motifs[9]
    rng = np.random.default_rng(0)
    for target in (-2.0, 0.5, 2.5):
        strength = motif.strength(motif.sample(np.full(3_000, target), rng))
        assert strength.mean() == pytest.approx(target, abs=0.3)
