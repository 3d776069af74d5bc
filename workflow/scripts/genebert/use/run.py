"""The verbs of a notebook: a finished run and a user's files, or sequences as text.

In: the directory of pre-trained encoders; the files of the run that trained them lie beside it.
Out: the same files that the workflow writes (:mod:`genebert.use`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genebert.errors import InputError
from genebert.features import encode_all
from genebert.finetuned import Fitted
from genebert.genome import IUPAC, Codes
from genebert.job import outputs_in_place
from genebert.layout import SHARED_MODELS
from genebert.model_files import WEIGHTS, model_directory
from genebert.pretrained import INFERENCE_BATCH
from genebert.use.sources import GENOME, results_beside

_NOTHING_LEFT = dict.fromkeys(IUPAC)  # of a DNA sequence, by str.translate


def check_list(values: Iterable[object], what: str) -> None:
    """Raise :class:`InputError` if texts are a single one, which would be read as its letters."""
    if isinstance(values, str):
        raise InputError(
            f"{what.replace('_', ' ')} are not in a list",
            file=what,
            found=values[:40],
            expected=f"[{values[:40]!r}]",
        )


def check_dna(sequences: Sequence[object]) -> None:
    """Raise :class:`InputError` unless all are texts of DNA; other letters would be read as N."""
    check_list(sequences, "sequences")
    for number, sequence in enumerate(sequences):
        item = f"sequences[{number}]"
        if not isinstance(sequence, str):
            raise InputError("is no text", file=item, found=type(sequence).__name__, expected="str")
        if wrong := sequence.translate(_NOTHING_LEFT):
            raise InputError(
                "has a letter that is not a DNA base",
                file=item,
                found=wrong[0],
                expected="A, C, G, T (also for U), N or an IUPAC code",
            )


def codes_of(sequences: Sequence[str]) -> Codes:
    """Return uint8[n, L] codes of sequences.

    Raises
    ------
    InputError
        If one is no text of DNA, or they are not all of one length.
    """
    check_dna(sequences)
    lengths = {len(sequence) for sequence in sequences}
    if len(lengths) > 1:
        raise InputError(
            "sequences are not of one length", file="sequences", found=sorted(lengths)[:4]
        )
    return encode_all(sequences)


def allele_codes(reference: Sequence[str], alternative: Sequence[str]) -> tuple[Codes, Codes]:
    """Return the codes of windows with either allele, uint8[n, L] each.

    Raises
    ------
    InputError
        If there is none, not one of each, one is no text of DNA, or they are not all of one length.
    """
    check_list(reference, "sequences")
    check_list(alternative, "sequences")
    if not len(reference) == len(alternative) > 0:
        raise InputError(
            "not one alternative for each reference",
            file="sequences",
            found=f"{len(reference)} and {len(alternative)}",
        )
    codes = codes_of([*reference, *alternative])
    return codes[: len(reference)], codes[len(reference) :]


def listed(cell_types: Iterable[str]) -> list[str]:
    """Return the names of cell types.

    Raises
    ------
    InputError
        If they are a single text, which would be read as letters.
    """
    check_list(cell_types, "cell_types")
    return [str(name) for name in cell_types]


def predict_sequences(fitted: Fitted, sequences: Sequence[str]) -> pd.DataFrame:
    """Return the probabilities of a network without a region branch, a column per output.

    Raises
    ------
    InputError
        If the network reads a neighbourhood too, or sequences of another length.
    """
    from genebert.use.predictions import probabilities

    about = fitted.about
    codes = codes_of(sequences)
    if about.regions:
        raise InputError(
            "the network reads the neighbourhood too, so it needs places: use predict_bed",
            file=f"{about.task}/{about.dataset}/{about.model}",
        )
    if codes.shape[1] != about.length:
        raise InputError(
            "sequences have another length than those of the task",
            file="sequences",
            found=codes.shape[1],
            expected=about.length,
        )
    step = INFERENCE_BATCH["cpu"]
    parts = [probabilities(fitted, codes[at : at + step]) for at in range(0, len(codes), step)]
    return pd.DataFrame(np.concatenate(parts)[:, :, 0], columns=list(about.outputs))


def same_file(one: str | Path, other: str | Path) -> bool:
    """Tell whether two paths are one file, through links, whether or not it exists."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return Path(one).resolve() == Path(other).resolve()


def check_apart(inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Refuse outputs that would overwrite an input or each other.

    Parameters
    ----------
    inputs, outputs : {argument: path}.

    Raises
    ------
    InputError
        With both arguments and the path.
    """
    earlier = {f"input {key!r}": path for key, path in inputs.items()}
    for key, path in outputs.items():
        for other, taken in earlier.items():
            if same_file(path, taken):
                raise InputError(
                    f"the output {key!r} would overwrite the {other}",
                    file=path,
                    found=taken,
                    expected="another path for the output",
                )
        earlier[f"output {key!r}"] = path


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    weights : ``model.safetensors``. results : folder with ``shards``, ``motifs``, ``reference``.
    threads : CPU threads.
    """

    weights: str
    results: str
    threads: int = 1

    @classmethod
    def open(cls, path: str | Path, threads: int = 1) -> Run:
        """Open the run that trained the encoders in a directory.

        Raises
        ------
        InputError
            If there are no encoders, or not the files of their run.
        """
        directory = model_directory(path)
        found = results_beside(directory)
        if found is None:
            raise InputError(
                "the run that trained this model is not beside it",
                file=directory,
                expected="RESULTS/pretrain/VARIANT with RESULTS/shards/index.json",
            )
        return cls(str(directory / WEIGHTS), found, threads)

    def file(self, name: str) -> str:
        """Return the path of a file of the run."""
        return str(Path(self.results) / name)

    @property
    def _genome(self) -> dict[str, str]:
        genome = self.file(GENOME)
        return {"genome": genome, "index": f"{genome}.fai", "block_index": f"{genome}.gzi"}

    def _write(
        self,
        verb: Callable[..., None],
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
        **more: Any,
    ) -> None:
        """Call a verb; what it writes takes the place of older files when it is whole.

        Links are followed; what is no file (``/dev/null``, a pipe) is written to as it is.
        """
        check_apart(inputs, outputs)
        special = {k: v for k, v in outputs.items() if os.path.exists(v) and not os.path.isfile(v)}
        files = {k: os.path.realpath(v) for k, v in outputs.items() if k not in special}
        with outputs_in_place(files) as parts:
            verb(**inputs, **parts, **special, **more, threads=self.threads)

    def fit_head(self, head: str | Path, seed: int = 1) -> None:
        """Fit the accessibility read-out and write it (minutes on a large run)."""
        from genebert.use.head import fit_head

        inputs = {"weights": self.weights, "shards": self.file("shards/index.json")}
        self._write(fit_head, inputs, {"head": str(head)}, seed=seed)

    def embed_bed(
        self, bed: str | Path, embeddings: str | Path, cell_types: Sequence[str] = ()
    ) -> None:
        """Embed the rows of a BED into an ``.h5ad`` file."""
        from genebert.use.embed import embed_bed

        inputs = {
            "bed": str(bed),
            **self._genome,
            "weights": self.weights,
            "shards": self.file("shards/index.json"),
        }
        outputs = {"embeddings": str(embeddings)}
        cells = listed(cell_types)
        self._write(embed_bed, inputs, outputs, name=Path(bed).name, cell_types=cells)

    def score_vcf(
        self,
        vcf: str | Path,
        head: str | Path,
        *,
        table: str | Path,
        annotated: str | Path,
        summary: str | Path,
        cell_types: Sequence[str] = (),
    ) -> None:
        """Score every ALT of a VCF into a table and an annotated ``.vcf.gz`` with its index."""
        from genebert.use.variants import score_vcf

        inputs = {
            "vcf": str(vcf),
            **self._genome,
            "weights": self.weights,
            "shards": self.file("shards/index.json"),
            "motif_set": self.file("motifs/motif_set.json"),
            "head": str(head),
        }
        outputs = {
            "table": str(table),
            "annotated": str(annotated),
            "vcf_index": f"{os.path.realpath(annotated)}.tbi",
            "summary": str(summary),
        }
        cells = listed(cell_types)
        self._write(score_vcf, inputs, outputs, name=Path(vcf).name, cell_types=cells)

    def predict_bed(
        self,
        bed: str | Path,
        dataset: str,
        *,
        table: str | Path,
        summary: str | Path,
        model: str = SHARED_MODELS[0],
        cell_types: Sequence[str] = (),
    ) -> None:
        """Predict the rows of a BED with the network fitted on a dataset, ``TASK/DATASET``."""
        from genebert.use.predictions import predict_bed

        inputs = {
            "bed": str(bed),
            **self._genome,
            "fitted": self.file(f"tasks/{dataset}/{model}/fitted.safetensors"),
            "shards": self.file("shards/index.json"),
        }
        outputs = {"table": str(table), "summary": str(summary)}
        cells = listed(cell_types)
        self._write(predict_bed, inputs, outputs, name=Path(bed).name, cell_types=cells)

    def attribute_bed(
        self,
        bed: str | Path,
        head: str | Path,
        *,
        bedgraph: str | Path,
        summary: str | Path,
        cell_types: Sequence[str] = (),
        dataset: str = "",
        model: str = SHARED_MODELS[0],
        output: str = "",
        method: str = "ism",
    ) -> None:
        """Write contributions as bedGraph: to accessibility, or to a dataset's network if named."""
        from genebert.use.tracks import attribute_bed

        fitted = self.file(f"tasks/{dataset}/{model}/fitted.safetensors")
        inputs = {
            "bed": str(bed),
            **self._genome,
            "weights": self.weights,
            "shards": self.file("shards/index.json"),
            "motif_set": self.file("motifs/motif_set.json"),
            "head": str(head),
        }
        outputs = {"bedgraph": str(bedgraph), "summary": str(summary)}
        check_apart({"fitted": fitted}, outputs)
        self._write(
            attribute_bed,
            inputs,
            outputs,
            fitted=[fitted] if dataset else [],
            name=Path(bed).name,
            cell_types=listed(cell_types),
            output=output,
            method=method,
        )
