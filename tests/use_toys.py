"""A run in miniature, as `genebert.use` finds it: shards, motifs, genome, encoders beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import torch

from genebert import finetuned, pretrained
from genebert.classifier import Classifier
from genebert.model import GeneBert, ModelConfig
from genebert.motif_files import Motif
from genebert.motifs import MotifSet
from genebert.pretrained import Pretrained
from genebert.shard_export import export_shards
from genebert.use.head import fit_head
from shard_toys import MOTIFS, WIDTH, make_toy

CONFIG = ModelConfig(k=3, stride=2, d_model=16, n_heads=2, n_features=4, n_columns=5)
HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
CONSENSUS = ("TGACTCA", "GATAAG", "CACGTG")


@dataclass(frozen=True)
class ToyRun:
    """Paths of the run, and its genome as text (upper case)."""

    folder: Path
    genome: dict[str, str]

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def weights(self) -> str:
        return str(self.results / "pretrain/full/seed-1/model.safetensors")

    @property
    def head(self) -> str:
        return str(self.results / "use/head.safetensors")

    @property
    def encoders(self) -> Pretrained:
        return Pretrained.load(self.results / "pretrain/full")

    def files(self, *names: str) -> dict[str, str]:
        """Return keyword arguments that name files of the run."""
        genome = str(self.results / "reference/genome.fa.gz")
        every = {
            "genome": genome,
            "index": f"{genome}.fai",
            "block_index": f"{genome}.gzi",
            "weights": self.weights,
            "shards": str(self.results / "shards/index.json"),
            "motif_set": str(self.results / "motifs/motif_set.json"),
            "head": self.head,
        }
        return {name: every[name] for name in ("genome", "index", "block_index", *names)}

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)


def make_run(folder: Path) -> ToyRun:
    """Make and write the run."""
    (folder / "toy").mkdir(parents=True)
    toy = make_toy(folder / "toy", per_contig=(30, 12, 12))
    rng = np.random.default_rng(5)
    toy.genome = {  # no N, so that every window is known
        name: "".join(rng.choice(list("ACGT"), len(text))) for name, text in toy.genome.items()
    }
    toy.write()
    results = folder / "results"
    job: dict[str, Any] = toy.job()
    for name in ("shards", "motifs", "reference", "use"):
        (results / name).mkdir(parents=True)
    for key in ("cell_types", "shard_index"):
        job[key] = str(results / "shards" / Path(job[key]).name)
    job["shards"] = [str(results / "shards" / Path(path).name) for path in job["shards"]]
    export_shards(**job)
    fasta = results / "reference/genome.fa.gz"
    pysam.tabix_compress(str(folder / "toy/genome.fa"), str(fasta), force=True)
    pysam.faidx(str(fasta))
    motifs = [
        Motif(name, "toy", np.where(np.array(list("ACGT"))[:, None] == list(word), 0.97, 0.01))
        for name, word in zip(MOTIFS, CONSENSUS, strict=True)
    ]
    MotifSet.build(motifs, p_value=1e-3).write(results / "motifs/motif_set.json")
    record = {"motifs": list(MOTIFS), "pretrain": {"name": "full"}}
    pretrained.save(results / "pretrain/full/seed-1", GeneBert(CONFIG, 3), **record)
    run = ToyRun(folder, toy.genome)
    fit_head(weights=run.weights, shards=str(job["shard_index"]), head=run.head, seed=1, threads=1)
    return run


def make_fitted(run: ToyRun, **changes: Any) -> finetuned.Fitted:
    """Return a network with random weights, as if it had been fitted."""
    about: dict[str, Any] = {
        "model": "genebert",
        "task": "tfbs",
        "dataset": "toy",
        "architecture": CONFIG.to_dict(),
        "record": dict(run.encoders.record),
        "outputs": ("CTCF", "SPI1"),
        "multiclass": False,
        "regions": False,
        "focus": None,
        "length": WIDTH,
        "strand_specific": False,
        "anchor_hidden": False,
        "exclude": WIDTH // 2,
        **changes,
    }
    about = finetuned.from_record(about)
    with torch.random.fork_rng():
        torch.manual_seed(1)  # the weights of the head, whatever ran before
        if about.architecture is None:
            network = finetuned.build(about)
        else:
            network = Classifier(run.encoders, len(about.outputs), about.regions, about.focus)
    return finetuned.Fitted(network.eval(), about)


def other(base: str) -> str:
    return {"A": "C", "C": "G", "G": "T", "T": "A"}[base]


def some_variants(run: ToyRun) -> tuple[str, list[str]]:
    """Return a VCF with every kind of allele, and its lines."""
    a = run.genome["a"]
    lines = [
        f"a\t101\trs1\t{a[100]}\t{other(a[100])}\t9\tPASS\tAF=0.5;GENEBERT_LLR=7\tGT\t0/1",
        f"a\t121\t.\t{a[120]}\t{other(a[120])},{a[120]}GG,<DEL>\t.\t.\t.\tGT\t0/1",
        f"a\t131\t.\t{other(a[130])}\t{a[130]}\t.\t.\tAF=1\tGT\t./.",
        f"a\t141\t.\t{a[140].lower()}\t{other(a[140])}\t.\t.\tAF=1\tGT\t./.",
        "chrUn\t5\t.\tA\tT\t.\t.\tDB\tGT\t1|1",
    ]
    head = HEAD.replace("\n#CHROM", '\n##INFO=<ID=GENEBERT_LLR,Number=A,Type=Float,Description="old">'
                        '\n##INFO=<ID=AF,Number=A,Type=Float,Description="x">\n#CHROM')  # fmt: skip
    head = head.replace("INFO\n", "INFO\tFORMAT\tone\n")
    return head + "\n".join(lines) + "\n", lines


def fitted_file(tmp_path: Path, made: finetuned.Fitted) -> str:
    path = tmp_path / "fitted.safetensors"
    finetuned.write(path, made)
    return str(path)
