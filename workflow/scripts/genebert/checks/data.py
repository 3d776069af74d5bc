"""What `snakemake check` says of the user's files: genome, peaks, splits, motifs, labels.

But for the FASTA, of which :func:`fasta_lengths` takes lengths and letters, files are read by the
readers of the run; what these would say in a job is an ``error`` here.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genebert import layout
from genebert.atlas import AtlasSettings, extra_columns
from genebert.atlas_tables import Outline, outline
from genebert.builds import BUILDS
from genebert.checks import labels
from genebert.checks.finding import Finding
from genebert.checks.peaks import open_regions, windows
from genebert.consensus import RegionSettings
from genebert.errors import InputError, nearest
from genebert.genome import IUPAC
from genebert.hints import contig_hint, similar_file
from genebert.liftover import Chain
from genebert.lines import line_blocks
from genebert.motif_files import Motif, read_motifs
from genebert.motifs import MotifSet, read_clusters
from genebert.peaks import Peaks, read_atlas, read_peaks
from genebert.progress import Progress
from genebert.reference import check_build
from genebert.regions import read_blacklist
from genebert.splits import SPLITS, Splits
from genebert.tables import read_rows

FEW_PEAKS = 1000  # of a cell type
FEW_REGIONS = 200  # of a split: intervals are wide below
MANY_SHOWN = 5  # errors of one kind, or names, that are shown one by one
MANY_FILES = 50  # peak files that get a line each
_SPACE = b" \t\r\n"


def fasta_lengths(path: str | Path) -> dict[str, int]:
    """Return {contig: length} of a FASTA, plain or gzipped, in its order.

    Raises
    ------
    InputError
        If it cannot be read, is no FASTA, repeats a contig, has one without sequence, or holds
        other letters than IUPAC codes.
    """
    lengths: dict[str, int] = {}
    contig = ""
    size = os.path.getsize(path) if os.path.exists(path) else 0
    told = Progress(f"reading {Path(path).name}", size / 1e6, "MB", tell=print)
    read = 0
    for row, block in line_blocks(path):
        first, *others = re.split(rb"(?m)^>", block)
        if not contig and first.strip(_SPACE):
            found = first.split(b"\n")[0][:20].decode("utf-8", "replace")
            raise InputError(
                "is not a FASTA file", file=path, row=row, found=found, expected="a line '>name'"
            )
        pieces = [(contig, first)] if contig else []
        for piece in others:
            header, _, bases = piece.partition(b"\n")
            name = (header.split() or [b""])[0].decode("utf-8", "replace")
            if not name:
                raise InputError("contig has no name", file=path, expected=">name")
            if name in lengths:
                raise InputError("contig name is repeated", file=path, found=name)
            lengths[name] = 0
            pieces.append((name, bases))
            contig = name
        for name, bases in pieces:
            lengths[name] += len(bases.translate(None, _SPACE))
            if wrong := bases.translate(None, _SPACE + IUPAC):
                raise InputError(
                    f"{name} has a letter that is not a DNA base",
                    file=path,
                    found=wrong[:1].decode("ascii", "backslashreplace"),
                    expected="A, C, G, T, N or an IUPAC code",
                )
        read += len(block)
        told.at(min(read, size) / 1e6)
    if not lengths:
        raise InputError("is empty", file=path, expected="a FASTA file")
    for name, length in lengths.items():
        if not length:
            raise InputError("contig has no sequence", file=path, found=name)
    return lengths


def assembly(lengths: Mapping[str, int]) -> str:
    """Return the known assembly that the lengths are of, or an empty string."""
    for name, known in BUILDS.items():
        if all(
            lengths.get(contig, lengths.get(contig.removeprefix("chr"))) == length
            for contig, length in known.items()
        ):
            return name
    return ""


def simulated_regions(config: Mapping[str, Any]) -> int:
    """Return about how many regions a simulated genome gets."""
    settings = config["simulate"]
    bases = len(settings["contigs"]) * settings["contig_length"]
    return int(bases / 1e6 * settings["regions_per_mb"])


class Data:
    """The files of a configuration; what is known of them after :meth:`check`.

    Attributes
    ----------
    lengths : of the contigs. cell_types : of the atlas. held_out : those held out of training.
    n_regions : about how many there are.
    counts : int64[C, contigs], :func:`~genebert.checks.peaks.open_regions` of the training cell
        types; of none where peaks are missing or wrong, or are lifted over.

    Parameters
    ----------
    config : the validated configuration, ``genome.source`` is ``files``.
    resources : rows of the manifest.
    """

    def __init__(self, config: Mapping[str, Any], resources: Sequence[Mapping[str, str]]) -> None:
        self.config = config
        self.resources = {row["name"]: row for row in resources}
        self.splits = Splits.from_config(config["splits"])
        self.lengths: dict[str, int] = {}
        self.cell_types: list[str] = []
        self.held_out: list[str] = []
        self.n_regions = 0
        self.counts = np.zeros((0, 0), dtype=np.int64)
        self.whole = True  # all peaks are read

    @property
    def training(self) -> list[str]:
        """The training cell types."""
        return [name for name in self.cell_types if name not in self.held_out]

    def check(self) -> Iterator[Finding]:
        """Yield the findings about every file that the configuration names."""
        yield from self.genome()
        yield from self.annotation()
        yield from self.blacklist()
        yield from self.peaks()
        yield from self.motifs()
        for row in self.config["datasets"]:
            yield from labels.check(self, row)

    def there(self, topic: str, value: str) -> tuple[str, Finding | None]:
        """Return the path of a source, and a finding if it is not there."""
        path = layout.source(self.config, value)
        if os.path.exists(path):
            return path, None
        kind, _, name = value.partition(":")
        if kind == "listing":
            return path, Finding(
                "ok", topic, f"{value} becomes a table at the start of the run",
                f"`snakemake ... {path}` writes it now, to be looked at",
            )  # fmt: skip
        if kind == "resource":
            row = self.resources.get(name)
            if row is None and "/" not in name:
                close = nearest(name, self.resources)
                return path, Finding("error", topic, f"no such download: {name}{close}")
            size = f" ({int(row['bytes']) / 1e6:,.0f} MB)" if row and row["bytes"] else ""
            if self.config["offline"]:
                return path, Finding(
                    "error", topic, f"{name} is not there, and offline is true",
                    f"run `snakemake ... fetch_all` where there is a network, or put it to {path}",
                )  # fmt: skip
            return path, Finding("ok", topic, f"{name} would be fetched{size}")
        hint = similar_file(path) or f"; relative paths are seen from {os.getcwd()!r}"
        return path, Finding("error", topic, f"{path}: no such file{hint}")

    def genome(self) -> Iterator[Finding]:
        """Yield what is found of the FASTA, the name of the assembly and the splits."""
        block = self.config["genome"]
        path, missing = self.there("genome", block["fasta"])
        if missing:
            yield missing
            return
        try:
            self.lengths = fasta_lengths(path)
        except InputError as error:
            yield Finding("error", "genome", str(error))
            return
        bases = sum(self.lengths.values())
        looks = assembly(self.lengths)
        text = f"{path}: {len(self.lengths)} contigs, {bases / 1e6:,.1f} Mb"
        yield Finding("ok", "genome", text + (f", the lengths of {looks}" if looks else ""))
        try:
            check_build(block["name"], self.lengths, file=path)
        except InputError as error:
            yield Finding("error", "genome", str(error), "correct genome.name, or the file")
        try:
            self.splits.check_contigs(self.lengths, file=path)
        except InputError as error:
            yield Finding("error", "splits", str(error), f"contigs: {_some(self.lengths)}")

    def annotation(self) -> Iterator[Finding]:
        """Yield what is found of the GTF, where no dataset is made of it."""
        value = self.config["genome"].get("gtf")
        if not value or any(row["kind"] == "gtf" for row in self.config["datasets"]):
            return
        path, missing = self.there("annotation", value)
        if missing:
            yield missing
            return
        try:
            text = labels.head_of_gtf(self.lengths, path)
            yield Finding("ok", "annotation", f"{path}, {text}")
        except InputError as error:
            yield Finding("error", "annotation", str(error))

    def blacklist(self) -> Iterator[Finding]:
        """Yield what is found of the blacklist, where there is one."""
        value = self.config["genome"].get("blacklist")
        if not value:
            return
        path, missing = self.there("blacklist", value)
        if missing:
            yield missing
        elif self.lengths:
            try:
                intervals, _ = read_blacklist(path, self.lengths)
                count = sum(map(len, intervals.values()))
                yield Finding("ok", "blacklist", f"{path}: {count} intervals")
            except InputError as error:
                yield Finding("error", "blacklist", str(error))

    def peaks(self) -> Iterator[Finding]:
        """Yield a line for every cell type, then one for the regions of each split."""
        atlas = self.config["atlas"]
        path, missing = self.there("atlas", atlas["cell_types"])
        if missing:
            yield missing
            return
        if not self.lengths:
            yield Finding("warn", "peaks", "not looked at: the genome is not there to compare with")
            return
        contigs: Mapping[str, int] = self.lengths
        if chain := atlas.get("chain"):
            file, missing = self.there("chain", chain)
            if missing:
                yield missing
                return
            try:
                contigs = Chain.read(file, self.lengths).source_contigs
            except InputError as error:
                yield Finding("error", "chain", str(error))
                return
        if layout.is_converted(self.config):
            yield from self._converted(path, contigs)
            return
        found: dict[str, list[Peaks]] = {}
        read = self._long if atlas["format"] == "long" else self._table
        yield from read(path, contigs, found)
        self.cell_types = list(found)
        if found:
            yield from self._held_out(path)
        if found and not chain:
            yield from self._regions(found)
            if self.whole and self.training:
                self.counts = open_regions(
                    {name: found[name] for name in self.training},
                    self.lengths,
                    self.splits,
                    RegionSettings.from_config(self.config["regions"]),
                    self.config["pretrain"]["neighbours"],
                )

    def _converted(self, path: str, contigs: Mapping[str, int]) -> Iterator[Finding]:
        """Look at the cell types and peaks of an atlas that the run turns into a long table."""
        atlas, files = self.config["atlas"], []
        for key in ("peaks", "names"):
            if value := atlas.get(key):
                file, missing = self.there("atlas", value)
                if missing:
                    yield missing
                    return
                files.append(file)
        try:
            found = outline(path, files, atlas)
        except InputError as error:
            yield Finding("error", "atlas", str(error))
            return
        self.cell_types = [name for name in sorted(found.labels) if name not in found.left_out]
        cells = f"{sum(found.cells.values()):,} cells, " if found.cells else ""
        yield Finding(
            "ok", "atlas",
            f"{path}: {cells}{len(found.peaks):,} peaks, {len(found.labels)} cell types",
        )  # fmt: skip
        yield from _named(found)
        yield from _fits(found.peaks, contigs, path, self.config["regions"]["max_unknown_contigs"])
        yield from self._held_out(path)

    def _long(
        self, path: str, contigs: Mapping[str, int], found: dict[str, list[Peaks]]
    ) -> Iterator[Finding]:
        """Read one long table of peaks."""
        limit = self.config["regions"]["max_unknown_contigs"]
        try:
            found.update({k: [v] for k, v in read_atlas(path, contigs, max_unknown=limit).items()})
        except InputError as error:
            yield Finding("error", "peaks", str(error))
            return
        yield from _few(found, path)
        total = sum(len(peaks) for (peaks,) in found.values())
        yield Finding("ok", "peaks", f"{path}: {total:,} peaks of {len(found)} cell types")

    def _table(
        self, path: str, contigs: Mapping[str, int], found: dict[str, list[Peaks]]
    ) -> Iterator[Finding]:
        """Read the files of a table of peak files."""
        try:
            files = layout.cell_type_peaks(self.config)
            rows = read_rows(path, ("cell_type", "peaks", "format"), names=("cell_type",))
            extra_columns(rows[0], path)
        except InputError as error:
            yield Finding("error", "atlas", str(error))
            return
        limit = self.config["regions"]["max_unknown_contigs"]
        told = Progress("reading peaks", len(rows), "files", tell=print)
        absent, wrong, shown = 0, 0, 0
        for number, (row, file) in enumerate(zip(rows, files, strict=True), start=1):
            if not os.path.exists(file) and row["peaks"].startswith("resource:"):
                absent += 1
                continue
            told.at(number)
            try:
                if not os.path.exists(file):
                    hint = similar_file(file) or f"; line {number + 1} of {path} names it"
                    raise InputError(f"no such file{hint}", file=file)
                peaks = read_peaks(file, row["format"], contigs, max_unknown=limit)
            except InputError as error:
                wrong += 1
                if wrong <= MANY_SHOWN:
                    yield Finding("error", "peaks", f"{row['cell_type']}: {error}")
                continue
            found.setdefault(row["cell_type"], []).append(peaks)
            shown += 1
            if len(rows) <= MANY_FILES:
                yield _peaks_finding(row["cell_type"], file, peaks)
        if wrong > MANY_SHOWN:
            yield Finding("error", "peaks", f"{wrong - MANY_SHOWN} more files like these")
        if absent:
            yield Finding("ok", "peaks", f"{absent} peak files would be fetched")
        if len(rows) > MANY_FILES:
            total = sum(len(p) for peaks in found.values() for p in peaks)
            yield Finding("ok", "peaks", f"{total:,} peaks in {shown} files")
        self.whole = not absent and not wrong
        yield from _few(found, path)
        least = AtlasSettings.from_config(self.config["atlas"]).min_replicates
        short = [name for name, peaks in found.items() if len(peaks) < least]
        if short and not absent and not wrong:
            yield Finding(
                "error", "atlas", f"{_some(short)}: fewer replicates than atlas.min_replicates",
                f"lower it from {least}, or add rows",
            )  # fmt: skip

    def _held_out(self, path: str) -> Iterator[Finding]:
        """Yield which cell types are held out."""
        try:
            mask = self.splits.held_out(self.cell_types, self.config["seed"], file=path)
        except InputError as error:
            yield Finding("error", "splits", str(error), f"cell types: {_some(self.cell_types)}")
            return
        held = [name for name, out in zip(self.cell_types, mask, strict=True) if out]
        self.held_out = held
        text = f"{len(mask) - len(held)} cell types for training"
        if held:
            yield Finding("ok", "splits", f"{text}, {_some(held)} held out")
        else:
            yield Finding(
                "warn", "splits", f"{text}, none is held out",
                "name one in splits.held_out_cell_types to see transfer to new cell types",
            )  # fmt: skip

    def _regions(self, found: Mapping[str, Sequence[Peaks]]) -> Iterator[Finding]:
        """Yield about how many regions every split gets."""
        width = self.config["regions"]["width"]
        every = [windows(peaks, width) for members in found.values() for peaks in members]
        codes = np.unique(np.concatenate(every))
        self.n_regions = len(codes)
        names = list(self.lengths)
        counts = dict.fromkeys(SPLITS, 0)
        for index in np.unique(codes >> 32).tolist():
            start = (codes[codes >> 32 == index] & 0xFFFFFFFF) * width
            split = self.splits.split_of(names[index], start, start + width)
            for name in SPLITS:
                counts[name] += int((split == name).sum())
        text = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        empty = [name for name in SPLITS if not counts[name]]
        few = [name for name in SPLITS if 0 < counts[name] < FEW_REGIONS]
        if empty:
            here = [names[i] for i in np.unique(codes >> 32).tolist()]
            yield Finding(
                "error", "splits", f"no peak lies in {' and '.join(empty)} (regions: {text})",
                f"contigs with peaks: {_some(here)}",
            )  # fmt: skip
        elif few:
            yield Finding(
                "warn", "splits", f"regions, about: {text}",
                f"few in {' and '.join(few)}: intervals will be wide; add contigs to it",
            )  # fmt: skip
        else:
            yield Finding("ok", "splits", f"regions, about: {text}")

    def motifs(self) -> Iterator[Finding]:
        """Yield how many motifs there are and how many of them can be found at all."""
        block = self.config["motifs"]
        motifs: list[Motif] = []
        complete = True
        for row in block["sources"]:
            value = row["path"]
            path, missing = (value, None)
            if not value.startswith("jaspar:"):
                path, missing = self.there("motifs", value)
            if missing:
                yield missing
                complete = False
                continue
            try:
                read = read_motifs(path, row["format"])
            except InputError as error:
                yield Finding("error", "motifs", str(error))
                complete = False
                continue
            yield Finding("ok", "motifs", f"{path}: {len(read)} motifs")
            motifs += read
        if not motifs or not complete:
            return
        if block.get("clusters"):
            path, missing = self.there("motifs", block["clusters"])
            try:
                if missing:
                    yield missing
                else:
                    groups = set(read_clusters(path, [m.name for m in motifs]).values())
                    yield Finding("ok", "motifs", f"{path}: {len(groups)} clusters")
            except InputError as error:
                yield Finding("error", "motifs", str(error))
        try:
            kept = MotifSet.build(
                motifs,
                p_value=block["p_value"],
                pseudocount=block["pseudocount"],
                unattainable=block["unattainable"],
            ).kept
        except InputError as error:
            yield Finding("error", "motifs", str(error))
            return
        lost = len(motifs) - len(kept)
        text = f"{len(kept)} of {len(motifs)} motifs can reach p = {block['p_value']:g}"
        if lost > len(motifs) / 2:
            yield Finding("warn", "motifs", text, "short motifs need a larger motifs.p_value")
        else:
            yield Finding("ok", "motifs", text + (f", {lost} are left out" if lost else ""))


def _named(found: Outline) -> Iterator[Finding]:
    """Yield the name of every cell type with its cells, and which names are not the file's."""
    if len(found.labels) <= MANY_FILES:
        for name in sorted(found.labels):
            cells = f": {found.cells[name]:,} cells" if found.cells else ""
            yield Finding("ok", "atlas", name + cells)
    renamed = [f"{name} ({label!r})" for name, label in found.labels.items() if name != label]
    if renamed:
        yield Finding(
            "ok", "atlas", f"names for file names: {_some(renamed)}",
            "use these in splits.held_out_cell_types and in tables",
        )  # fmt: skip
    if found.left_out:
        yield Finding(
            "warn", "atlas", f"{_some(found.left_out)}: left out, too few cells or no open peak",
            "see atlas.min_cells_per_type" if found.cells else "",
        )  # fmt: skip


def _fits(
    peaks: pd.DataFrame, contigs: Mapping[str, int], path: str, limit: float
) -> Iterator[Finding]:
    """Yield what would be refused of the peaks in the long table: another genome."""
    lengths = peaks["contig"].map(dict(contigs))
    unknown = lengths.isna().to_numpy()
    beyond = (peaks["end"] > lengths).to_numpy()
    if unknown.mean() > limit:
        name = str(peaks["contig"].iloc[int(unknown.argmax())])
        yield Finding(
            "error", "peaks",
            f"{path}: {unknown.mean():.0%} of the peaks lie on contigs that are not in the genome"
            f"{contig_hint(name, contigs)}; found {name!r}",
            f"contigs: {_some(contigs)}",
        )  # fmt: skip
    elif beyond.any():
        place = " ".join(map(str, peaks.iloc[int(beyond.argmax())]))
        yield Finding(
            "error", "peaks", f"{path}: {beyond.sum():,} peaks end beyond their contig; "
            f"other assembly? found {place!r}",
        )  # fmt: skip


def _peaks_finding(name: str, file: str, peaks: Peaks) -> Finding:
    """Return the line of one peak file."""
    text = f"{name}: {len(peaks):,} peaks in {file}"
    parts = [
        f"{peaks.counts[key]:,} {what}"
        for key, what in (
            ("unknown_contig", "on contigs that the genome lacks"),
            ("duplicate", "repeated"),
        )
        if peaks.counts[key]
    ]
    if peaks.score_source == "missing":
        parts.append("no scores: all peaks count alike")
    text += f" ({'; '.join(parts)})" if parts else ""
    return Finding("ok", "peaks", text)


def _few(found: Mapping[str, Sequence[Peaks]], path: str) -> Iterator[Finding]:
    """Yield a warning if cell types have few peaks."""
    few = [name for name, all_ in found.items() if sum(map(len, all_)) < FEW_PEAKS]
    if few:
        yield Finding(
            "warn", "peaks", f"{path}: fewer than {FEW_PEAKS:,} peaks of {_some(few)}",
            "fine for a first try; results on them are not to be trusted",
        )  # fmt: skip


def _some(names: Mapping[str, Any] | Sequence[str]) -> str:
    """Return some of many names."""
    first = list(itertools.islice(names, MANY_SHOWN))
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")
