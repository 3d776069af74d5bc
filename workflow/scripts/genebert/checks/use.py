"""What `snakemake check` says of the user's own files and of the model that is used on them.

In: the validated configuration and what is known of the atlas. Out: findings. Nothing is said
where neither ``user_files`` nor another run's ``pretrained`` is set, nor of what needs weights.
The first records of each file are read, by the readers of the jobs.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from genebert.checks.finding import Finding
from genebert.checks.labels import known_contig
from genebert.errors import InputError
from genebert.genome import Genome
from genebert.hints import contig_twin, similar_file
from genebert.layout import dataset_labels, dataset_row, is_simulated, source
from genebert.tables import read_rows
from genebert.use import bed, sources, vcf
from genebert.use.names import in_atlas, output_of, predicted

HEAD = 10_000  # rows of a BED, alleles of a VCF


@dataclass(frozen=True)
class Known:
    """What is known of the run whose model is used; each is empty where it is not.

    Attributes
    ----------
    lengths : of the contigs. cell_types : of the atlas. held_out : those held out of training.
    """

    lengths: Mapping[str, int] = field(default_factory=dict)
    cell_types: Sequence[str] = ()
    held_out: Sequence[str] = ()


def check(config: Mapping[str, Any], own: Known) -> Iterator[Finding]:
    """Yield what is wrong with the table, its files, cell types and targets, and the encoders.

    Parameters
    ----------
    own : of this run.
    """
    ours = tuple(Path(config["pretrained"]).parts[:2]) == sources.OWN
    if config.get("user_files") or not ours:
        try:
            found = sources.encoders(config)
            sources.results(config)  # of the run that goes with it
            yield Finding("ok", "model", found)
        except InputError as error:
            yield Finding("error", "model", str(error))
    if not config.get("user_files"):
        return
    table = config["user_files"]
    try:
        rows = sources.user_files(config)
    except InputError as error:
        yield Finding("error", "yours", str(error))
        return
    genome = None
    try:
        mine = sources.results(config) == sources.OWN[0]
        known = own if mine else _of_run(sources.run_file(config, sources.RUN_FILES[0]))
        files = [sources.run_file(config, sources.GENOME + end) for end in ("", ".fai", ".gzi")]
        if all(map(os.path.exists, files)):  # else its index would be written
            genome = Genome(files[0])
        if genome and known.lengths and genome.lengths != known.lengths:
            genome = None  # of an earlier configuration
    except InputError:  # told of the model
        known = Known()
    wrong = 0
    for row in rows:
        for finding in _row(config, row, known, genome):
            wrong += 1
            yield finding
    if not wrong:
        yield Finding("ok", "yours", f"{table}: {', '.join(row['name'] for row in rows)}")


def _of_run(index: str) -> Known:
    """Return what the shards of another run tell; nothing if they are not there."""
    if not os.path.exists(index):
        return Known()
    cell_types, held_out = sources.cell_types_of_run(index)
    return Known(cell_types=cell_types, held_out=held_out)


def _row(
    config: Mapping[str, Any], row: Mapping[str, str], known: Known, genome: Genome | None
) -> Iterator[Finding]:
    """Yield what is wrong with a row of the table."""
    name, path = row["name"], source(config, row["path"])
    if Path(path).is_file():
        try:
            _read(config, row["kind"], path, known, genome)
        except InputError as error:
            yield Finding("error", "yours", f"{name}: {error}")
    elif path == row["path"]:  # another is downloaded
        yield Finding("error", "yours", f"{name}: {path}: no such file{similar_file(path)}")
    for check_names in (_cells, _target):
        try:
            check_names(config, row, known)
        except InputError as error:
            yield Finding("error", "yours", f"{name}: {error}")
    if row["target"] and not row["task"]:
        yield Finding(
            "warn", "yours", f"{name}: target {row['target']!r} names an output of no network",
            "name its task, or the track is of accessibility",
        )  # fmt: skip


def _read(
    config: Mapping[str, Any], kind: str, path: str, known: Known, genome: Genome | None
) -> None:
    """Read the first records of a file; without the genome, its lines and contigs alone."""
    lengths = known.lengths if genome is None else genome.lengths
    if kind == "vcf" and genome is not None:
        vcf.check(path, genome, _width(config), limit=HEAD)
    elif kind == "vcf":
        lines = itertools.islice(vcf.read_lines(path), HEAD)
        contigs = {fields[0] for _, fields in lines}
        if not any(contig_twin(contig, lengths) for contig in contigs):
            known_contig(lengths, contigs, path)
    elif lengths:
        bed.rows_of(path, lengths, limit=HEAD)
    else:
        for _ in itertools.islice(bed.bed_lines(path), HEAD):
            pass


def _width(config: Mapping[str, Any]) -> int:
    """Return the width of the windows around variants."""
    index = sources.run_file(config, sources.RUN_FILES[0])
    if os.path.exists(index):
        return sources.region_width(index)
    return int(config["regions"]["width"])


def _cells(config: Mapping[str, Any], row: Mapping[str, str], known: Known) -> None:
    """Raise unless the atlas has the row's cell types; of a VCF, unless training has them."""
    cells, table = sources.cell_types(row), config["user_files"]
    if known.cell_types:
        in_atlas(cells, known.cell_types, file=table)
        training = [name for name in known.cell_types if name not in known.held_out]
        if row["kind"] == "vcf":
            predicted(cells, training, file=table)


def _target(config: Mapping[str, Any], row: Mapping[str, str], known: Known) -> None:
    """Raise unless the row's network can be there and has its target."""
    for path in sources.fitted_of(config, row):
        outputs = _outputs(path) or _factors(config, row)
        if row["target"] and outputs:
            output_of(row["target"], outputs)


def _outputs(path: str) -> list[str]:
    """Return the outputs of a fitted network; none if there is none yet that can be read."""
    try:
        with safe_open(path, framework="np") as file:
            return list(json.loads(file.metadata()["genebert"])["about"]["outputs"])
    except (OSError, SafetensorError, TypeError, KeyError, ValueError):
        return []


def _factors(config: Mapping[str, Any], row: Mapping[str, str]) -> list[str]:
    """Return the TFs of a dataset of ChIP-seq sets of this run, which are its outputs at most."""
    try:
        dataset = dataset_row(config, *row["task"].split("/"))
        if dataset["kind"] != "narrowpeak":
            return []
        if is_simulated(config):
            return list(config["simulate"]["chip_tfs"])
        sets = read_rows(dataset_labels(config, dataset), ("tf",))
    except InputError:  # another run's, or told of the dataset
        return []
    return sorted({line["tf"] for line in sets})
