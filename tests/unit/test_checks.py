"""`snakemake check`: a line for everything, an error for whatever would fail, and nothing written."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pysam
import pytest
from check_toys import CELLS, Config, edit, found, genome, made_config, of, read_yaml
from safetensors.numpy import save_file

from genebert import checks
from genebert.checks import data, machine, peaks, use
from genebert.config import check_config
from genebert.consensus import RegionSettings, open_pairs, select_regions
from genebert.errors import InputError
from genebert.peaks import Peaks
from genebert.splits import Splits
from genebert.use import sources


@pytest.fixture
def config(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    return made_config(root)


def test_good_files_are_fine(config: Config, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    findings = found(config)
    assert not [str(f) for f in findings if f.level == "error"]
    topics = {f.topic for f in findings}
    assert {
        "genome",
        "peaks",
        "splits",
        "motifs",
        "dataset",
        "disk",
        "memory",
        "cores",
        "gpu",
        "slurm",
    } <= topics
    lines = "\n".join(map(str, findings))
    assert "genome.fa: 3 contigs, 0.2 Mb" in lines
    assert "NK held out" in lines
    assert "1 of 2 motifs can reach p = 0.0001" in lines
    assert "promoter/epd: promoters.bed, 1 promoters" in lines
    assert "splicing/sites: genes.gtf, 1 exons" in lines
    assert "disease/mpra: variants.tsv, 1 variants" in lines
    assert "promoter/gue: train.csv, 2 sequences" in lines
    for cell in CELLS:
        assert f"{cell}: 249 peaks in {cell}.narrowPeak" in lines
    assert sorted(tmp_path.iterdir()) == before  # it writes nothing


def test_regions_of_each_split_are_about_right(config: Config) -> None:
    (line,) = [x for x in of(config, "splits", "warn") if "regions" in x]
    assert "train 83, valid 83, test 83" in line  # one in every 700 bases of 58,000
    assert "few in train and valid and test" in line


def test_warnings_say_what_to_do(config: Config) -> None:
    assert "fewer than 1,000 peaks of HSC, Mono, B, NK" in "".join(of(config, "peaks", "warn"))
    (line,) = of(config, "dataset", "warn")
    assert "not in the atlas, skipped: DC" in line
    config["splits"]["held_out_cell_types"] = []
    assert "none is held out -> name one" in "".join(of(config, "splits", "warn"))


def test_a_run_as_short_as_the_demo_is_told(config: Config) -> None:
    assert "60 steps of pre-training" in of(config, "effort", "warn")[0]
    config["effort"]["pretrain_steps"] = 5000
    assert not of(config, "effort", "warn")


def test_the_users_own_files_are_looked_at(config: Config, tmp_path: Path) -> None:
    assert not [finding for finding in found(config) if finding.topic in ("yours", "model")]
    table = tmp_path / "mine.tsv"
    (tmp_path / "a.bed").write_text("chr1\t100\t200\n")
    table.write_text("name\tkind\tpath\tcell_types\na\tbed\ta.bed\tNK\n")
    config["user_files"] = str(table)
    assert of(config, "yours", "ok")
    assert "results/pretrain/full/seed-1" in of(config, "model", "ok")[0]
    table.write_text("name\tkind\tpath\tcell_types\na\tbed\ta.bd\tNKK\n")
    missing, unknown = of(config, "yours", "error")
    assert "no such file; did you mean" in missing
    assert "has no peaks in the atlas of the model; did you mean 'NK'?; found 'NKK'" in unknown
    config["pretrained"] = str(tmp_path / "nix")
    assert of(config, "model", "error")


VCF = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
YOURS = "name\tkind\tpath\tcell_types\ttask\ttarget\n"


def yours(config: Config, row: str, level: str = "error") -> str:
    """Return what is said of a table with one row."""
    Path("mine.tsv").write_text(YOURS + row + "\n")
    config["user_files"] = "mine.tsv"
    lines = of(config, "yours", level)
    assert len(lines) < 2, lines
    return "".join(lines)


def site(position: int, ref: str = "", contig: str = "chr1") -> str:
    """Return a line of a VCF whose REF is that of the genome unless another is given."""
    sequence = "".join(genome().split("\n")[1:3]).upper()
    ref = ref or sequence[position - 1]
    return f"{contig}\t{position}\t.\t{ref}\t{'A' if ref != 'A' else 'C'}\t.\t.\t.\n"


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("a\tbed\tgenome.fa\t\t\t", "genome.fa, line 1: is not a row of a BED; found '>chr1 a contig'"),
        ("a\tbed\tbeyond.bed\t\t\t", "beyond.bed, line 2: row leaves chr1"),
        ("a\tbed\tbare.bed\t\t\t", "no row lies on a contig of the genome; did you mean 'chr1'?"),
        ("a\tvcf\tmotifs.meme\t\t\t", "motifs.meme, line 1: is not a VCF line below a #CHROM header"),
        ("a\tvcf\tunsorted.vcf\t\t\t", "unsorted.vcf, line 4: is not sorted"),
        ("a\tvcf\tother.vcf\t\t\t", "no contig of this file is in the genome"),
        ("a\tvcf\tgood.vcf\tNK\t\t", "mine.tsv: no accessibility is predicted for this cell type"),
        ("a\tvcf\tgood.vcf\tHSC,HSC\t\t", "mine.tsv, line 2: cell type is named twice; found 'HSC'"),
        ("a\tbed\tgood.bed\tHSC\ttfbs/chip\tSPI2", "the model has no such output; did you mean 'SPI1'?"),
        ("a\tbed\tgood.bed\tHSC\ttfbs/chop\tSPI1", "no such dataset; did you mean 'tfbs/chip'?"),
    ],
)  # fmt: skip
def test_the_users_files_are_read_by_the_readers_of_the_jobs(
    config: Config, row: str, text: str
) -> None:
    Path("good.bed").write_text("chr1\t5\t9\n")
    Path("beyond.bed").write_text("chr1\t5\t9\nchr1\t5\t60001\n")
    Path("bare.bed").write_text("1\t5\t9\n")
    Path("good.vcf").write_text(VCF + site(50) + site(60))
    Path("unsorted.vcf").write_text(VCF + site(60) + site(50))
    Path("other.vcf").write_text(VCF + site(60, contig="scaffold7"))
    assert text in yours(config, row)
    for good in (
        "a\tbed\tgood.bed\tNK\ttfbs/chip\tSPI1",
        "a\tvcf\tgood.vcf\tHSC\t\t",
        "a\tbed\tgood.bed\t\tsplicing/sites\tdonor",  # its outputs are known with its weights
    ):
        assert not yours(config, good)
    assert "names an output of no network" in yours(config, "a\tbed\tgood.bed\t\t\tSPI1", "warn")


def test_ref_is_compared_where_the_genome_of_the_run_is_there(config: Config) -> None:
    ref = site(100).split("\t")[3]
    Path("a.vcf").write_text(VCF + site(100, "G" if ref != "G" else "T"))
    row = "a\tvcf\ta.vcf\tHSC\t\t"
    assert not yours(config, row)
    assert not list(Path().glob("*.fai"))  # no index is written beside a file of the user's
    fasta = Path("results/reference/genome.fa.gz")
    fasta.parent.mkdir(parents=True)
    pysam.tabix_compress("genome.fa", str(fasta))
    pysam.faidx(str(fasta))
    assert "REF disagrees with the genome at chr1:100" in yours(config, row)
    edit("genome.fa", lambda text: text.replace(">chr3", ">chr4"))  # that genome is an old one
    assert not yours(config, row)


def test_the_first_records_are_enough(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use, "HEAD", 2)
    Path("a.bed").write_text("chrUn\t5\t9\n" + "chr1\t5\t9\n" * 2 + "nonsense\n")
    assert not yours(config, "a\tbed\ta.bed\t\t\t")
    Path("a.vcf").write_text(VCF + site(50) + site(60) + site(40))
    assert not yours(config, "a\tvcf\ta.vcf\t\t\t")


def test_another_runs_cell_types_are_known_from_its_shards(config: Config) -> None:
    results = Path("other/results")
    for file in ("pretrain/full/config.json", *sources.RUN_FILES):
        (results / file).parent.mkdir(parents=True, exist_ok=True)
        (results / file).touch()
    pysam.tabix_compress("genome.fa", str(results / sources.GENOME), force=True)
    pysam.faidx(str(results / sources.GENOME))
    index = {"width": 500, "cell_types": ["T", "Ery"], "splits": {"held_out_cell_types": ["Ery"]}}
    (results / sources.RUN_FILES[0]).write_text(json.dumps(index))
    config["pretrained"] = str(results / "pretrain/full")
    Path("a.vcf").write_text(VCF + site(500))
    assert not yours(config, "a\tvcf\ta.vcf\tT\t\t")
    assert "no accessibility is predicted" in yours(config, "a\tvcf\ta.vcf\tEry\t\t")
    assert "no peaks in the atlas of the model" in yours(config, "a\tvcf\ta.vcf\tHSC\t\t")


def test_a_model_without_the_files_of_its_run_is_told(config: Config) -> None:
    results = Path("other/results")
    for file in ("pretrain/full/config.json", sources.RUN_FILES[0]):
        (results / file).parent.mkdir(parents=True, exist_ok=True)
        (results / file).touch()
    config["pretrained"] = str(results / "pretrain/full")
    assert "is not whole" in of(config, "model", "error")[0]
    (results / sources.RUN_FILES[0]).unlink()
    assert of(config, "model", "ok")  # copied alone, used with this run's genome


def test_the_outputs_of_a_network_that_is_there_are_known(config: Config) -> None:
    path = Path("results/tasks/splicing/sites/genebert/fitted.safetensors")
    path.parent.mkdir(parents=True)
    record = {"format": 1, "about": {"outputs": ["none", "acceptor", "donor"]}}
    save_file({"x": np.zeros(1)}, path, metadata={"genebert": json.dumps(record)})
    Path("a.bed").write_text("chr1\t5\t9\n")
    assert not yours(config, "a\tbed\ta.bed\t\tsplicing/sites\tdonor")
    found = yours(config, "a\tbed\ta.bed\t\tsplicing/sites\tdoner")
    assert "the model has no such output; did you mean 'donor'?" in found


def test_variants_are_checked_each_and_those_that_are_not_run_are_warned_of(config: Config) -> None:
    (ok,) = of(config, "pretrain", "ok")
    assert ok == "ok    pretrain  rows and batches fit: full, sequence, shuffled_matrix"
    config["pretrain"]["objectives"]["srm"]["loss"] = "infonce"
    config["pretrain"]["batch_size"] = 20
    (line,) = of(config, "pretrain", "error")
    assert "full, shuffled_matrix: pretrain.objectives.srm.group: does not divide" in line
    config["effort"]["variants"], config["pretrained"] = ["sequence"], "results/pretrain/sequence"
    assert not of(config, "pretrain", "error")
    assert "before this variant is run" in "".join(of(config, "pretrain", "warn"))


def test_neighbours_are_compared_with_the_most_regions_that_peaks_can_give(config: Config) -> None:
    few = "".join(f"chr1\t{start}\t{start + 300}\n" for start in range(2000, 9000, 700))
    Path("B.narrowPeak").write_text(few + "chr2\t2000\t9000\n")  # 10 on the contig of training
    edit("cells.tsv", lambda text: text.replace("B.narrowPeak\tnarrowPeak", "B.narrowPeak\tbed"))
    (line,) = of(config, "pretrain", "error")
    assert "cell type B has fewer open regions than a matrix has columns" in line
    assert "at most 10 training regions on one contig" in line
    Path("B.narrowPeak").write_text("chr1\t2000\t30000\n")  # one, in which others' regions lie
    assert not of(config, "pretrain", "error")
    config["pretrain"]["neighbours"] = 50
    assert "at most 40 training regions" in "".join(of(config, "pretrain", "error"))
    Path("HSC.narrowPeak").unlink()  # its peaks could be the centres of more
    assert not of(config, "pretrain", "error")


def test_a_contig_must_have_room_for_rows_of_one_cell_type_at_least(config: Config) -> None:
    for cell in CELLS:
        lines = Path(f"{cell}.narrowPeak").read_text().splitlines(keepends=True)
        Path(f"{cell}.narrowPeak").write_text(
            "".join(x for i, x in enumerate(lines) if i % 83 < 20)
        )
    (line,) = of(config, "pretrain", "error")
    assert "no cell type has enough open regions on one contig" in line
    assert "20 regions of the split" in line


def test_the_most_regions_are_never_fewer_than_there_are() -> None:
    draw, settings = np.random.default_rng(3), RegionSettings(width=200, open_tolerance=50)
    splits = Splits.from_config({"train": ["a:0-40000"], "valid": ["a:50000-60000"], "test": ["b"]})
    length = 80_000
    for _ in range(20):
        found = {}
        for cell in range(3):
            start = np.sort(draw.integers(0, length - 900, draw.integers(1, 60))).astype(np.int32)
            size = draw.integers(20, 900, len(start)).astype(np.int32)
            contig = np.zeros(len(start), dtype=np.int32)
            found[str(cell)] = [
                Peaks(contig, start, start + size, start + size // 2, draw.random(len(start)), "x", {})
            ]  # fmt: skip
        every = [members[0] for members in found.values()]
        chosen, _ = select_regions(
            "a", length, np.zeros(length, dtype=np.uint8),
            [(p.summit, p.strength) for p in every], np.zeros(3, dtype=bool), [], splits, settings,
        )  # fmt: skip
        train = splits.split_of("a", chosen.starts, chosen.starts + 200) == "train"
        centres = chosen.starts[train] + 100
        counts = peaks.open_regions(found, {"a": length, "b": 100}, splits, settings, 1)
        assert counts.shape == (3, 2)
        for row, p in enumerate(every):
            start, end = p.start.astype(np.int64), p.end.astype(np.int64)
            there = len(open_pairs(start, end, p.strength, centres, 50)[0])
            assert there <= counts[row, 0]


def test_without_torch_pre_training_is_said_not_to_be_looked_at(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr(checks, "import_module", absent)
    assert "no torch here" in "".join(of(config, "pretrain", "warn"))
    assert not [f for f in found(config) if f.level == "error"]


def test_all_lines_are_printed_and_an_error_ends_the_run(config: Config) -> None:
    lines: list[str] = []
    checks.check(config=config, resources=[], tell=lines.append)
    assert lines[0].startswith("ok    genome    genome.fa")
    assert "0 wrong" in lines[-1]
    Path("B.narrowPeak").unlink()
    lines.clear()
    with pytest.raises(InputError, match="this run would fail: .* 2 wrong"):  # peaks and tfbs/chip
        checks.check(config=config, resources=[], tell=lines.append)
    assert any(line.startswith("error peaks     B: B.narrowPeak: no such file") for line in lines)


def test_downloads_are_named_and_not_made(config: Config) -> None:
    config["genome"]["fasta"] = "resource:hg19.fa.gz"
    rows = [{"name": "hg19.fa.gz", "bytes": "948731419"}]
    lines = [str(f) for f in found(config, rows)]
    assert "ok    genome    hg19.fa.gz would be fetched (949 MB)" in lines
    assert any("peaks     not looked at: the genome is not there" in line for line in lines)
    assert any("1 files would be fetched, 948.7 MB" in line for line in lines)
    config["offline"] = True
    assert "offline is true -> run `snakemake ... fetch_all`" in "".join(
        str(f) for f in found(config, rows) if f.level == "error"
    )


def test_long_tables_and_chains(config: Config) -> None:
    Path("long.tsv").write_text(
        "contig\tstart\tend\tcell_type\n"
        + "".join(f"chr{c}\t{s}\t{s + 300}\t{cell}\n" for cell in CELLS for c in (1, 2, 3) for s in range(500, 50_000, 900))
    )  # fmt: skip
    config["atlas"] |= {"format": "long", "cell_types": "long.tsv"}
    assert "660 peaks of 4 cell types" in "".join(of(config, "peaks", "ok"))
    config["atlas"]["chain"] = "a.chain"
    assert "a.chain: no such file" in "".join(of(config, "chain", "error"))
    Path("a.chain").write_text(
        "".join(f"chain 1 chr{c} 60000 + 0 60000 chr{c} 60000 + 0 60000 {c}\n60000\n\n" for c in (1, 2, 3))
    )  # fmt: skip
    assert "660 peaks" in "".join(of(config, "peaks", "ok"))


def test_many_files_get_one_line(config: Config) -> None:
    rows = "".join(f"c{i}\tB.narrowPeak\tnarrowPeak\n" for i in range(60))
    Path("cells.tsv").write_text("cell_type\tpeaks\tformat\n" + rows + "bad\tnone.bed\tbed\n" * 1)
    config["splits"]["held_out_cell_types"] = ["c1"]
    lines = of(config, "peaks", "ok")
    assert lines == ["ok    peaks     14,940 peaks in 60 files"]
    assert len(of(config, "peaks", "error")) == 1


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lengths_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool, end: str
) -> None:
    from genebert import lines

    monkeypatch.setattr(lines, "FIRST_BLOCK", 7)
    monkeypatch.setattr(lines, "BLOCK", 11)
    text = end.join([">a one > two", "ACGTN", "acg", ">b", "RYKM" * 20, "", ">c", "A"]) + end
    path = tmp_path / "x.fa"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    assert data.fasta_lengths(path) == {"a": 8, "b": 80, "c": 1}


def test_simulated_runs_only_look_at_the_machine(root: Path) -> None:
    default = read_yaml(root / "config/config.yaml")
    schema = read_yaml(root / "workflow/schemas/config.schema.yaml")
    findings = found(check_config(default, schema))
    assert {f.topic for f in findings} == {
        "data", "pretrain", "disk", "memory", "cores", "gpu", "slurm",
    }  # fmt: skip
    assert not [str(f) for f in findings if f.level == "error"]
    narrow = {**default, "regions": {"width": 200}}
    (line,) = [f for f in found(check_config(narrow, schema)) if f.level == "error"]
    assert "384 bases" in str(line)
    assert data.simulated_regions(default) == 2400


def test_disk_memory_and_gpu(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.needed_bytes(config, 1_150_000) == pytest.approx(5.7e9, rel=0.05)
    for free, level in ((1e6, "error"), (80e6, "warn"), (1e12, "ok")):
        monkeypatch.setattr(machine, "free_bytes", lambda path, free=free: free)
        assert [f.level for f in machine.disk(config, [], 1000)] == [level]
    assert machine.memory(config, 4000).level == "warn"
    assert machine.memory(config, 16_000).level == "ok"
    config["datasets"][0]["path"] = "listing:encode_tfbs"
    assert "the rule dataset asks for 32 GB" in str(machine.memory(config, 16_000))
    assert machine.gpu(config, []).level == "ok"
    assert "H200" in machine.gpu(config, ["NVIDIA H200, 143771 MiB"]).text
    config["pretrain"]["model"]["size"], config["effort"]["pretrain_steps"] = "base", 20_000
    assert "days on a CPU" in machine.gpu(config, []).advice


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_gpus_and_clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpus() == []
    (line,) = machine.cluster({"PATH": str(tmp_path)})
    assert (line.level, line.text) == ("ok", "none here: the run stays on this machine")
    (line,) = machine.cluster({"PATH": str(tmp_path), "GENEBERT_PARTITION": "gpu"})
    assert (line.level, line.text) == (
        "warn",
        "GENEBERT_PARTITION is set, but there is no SLURM here",
    )
    program(tmp_path, "nvidia-smi", "echo 'NVIDIA H200, 143771 MiB'")
    assert machine.gpus() == ["NVIDIA H200, 143771 MiB"]
    for name in ("sbatch", "squeue", "scancel", "sacct", "sacctmgr"):
        program(tmp_path, name, "exit 0")
    program(tmp_path, "sinfo", "exit 1")
    assert [f.level for f in machine.cluster({"PATH": str(tmp_path)})] == ["warn"]
    program(tmp_path, "sinfo", "echo 'cpu|(null)'")
    assert [f.level for f in machine.cluster({"PATH": str(tmp_path)})] == ["ok"]
    (line,) = machine.cluster({"PATH": str(tmp_path), "GENEBERT_PARTITION": "gpu"})
    assert line.level == "error"
    assert "has no partition 'gpu'" in line.text
