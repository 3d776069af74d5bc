"""A fine-tuned network as one file that holds all that is needed to use it elsewhere.

In: the network of the stage `predict` (first pre-training and fine-tuning seed, all labels) and
what its items were like. Out: ``fitted.safetensors``, its weights with a description; and the
network again. Models that are no network leave a file without tensors (:mod:`genebert.predict`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from genebert.classifier import Classifier, Network
from genebert.context import locus_window
from genebert.errors import InputError, reading
from genebert.items import Items, Job
from genebert.model import ModelConfig
from genebert.pretrained import Pretrained
from genebert.tensor_files import write_tensors

FORMAT = 1


@dataclass(frozen=True)
class Description:
    """What a network was fitted to do.

    Attributes
    ----------
    model, task, dataset : as in the tables.
    architecture : fields of ModelConfig, or None for the CNN.
    record : what `config.json` of the encoders says of motifs and pre-training.
    outputs : one name per logit: groups (TFs) of a binary dataset, or classes.
    multiclass : logits are classes. regions : there is a region branch.
    focus : first and last base of the sequence that the label is about, or None.
    length : bases of a sequence. strand_specific : read on the item's strand only.
    anchor_hidden : the anchor's own region is never shown.
    exclude : neighbours keep away so many bases from the middle of an item, 0 without regions.
    """

    model: str
    task: str
    dataset: str
    architecture: dict[str, Any] | None
    record: dict[str, Any]
    outputs: tuple[str, ...]
    multiclass: bool
    regions: bool
    focus: tuple[int, int] | None
    length: int
    strand_specific: bool
    anchor_hidden: bool
    exclude: int


@dataclass(frozen=True)
class Fitted:
    """A fine-tuned network in evaluation mode, and its description."""

    network: Network
    about: Description

    @property
    def encoders(self) -> Pretrained | None:
        """The encoders' configuration and record with the fine-tuned encoders; None for a CNN."""
        if not isinstance(self.network, Classifier):
            return None
        model = self.network.encoders
        return Pretrained(model.config, model, self.about.record)


def outputs_of(items: Items) -> tuple[str, ...]:
    """Return the name of every logit."""
    if items.multiclass:
        return tuple(str(name) for name in items.info["classes"])
    return items.groups if items.groups != ("",) else ("probability",)


def keep(job: Job, network: Network, encoders: Pretrained | None, regions: bool) -> Fitted:
    """Return a network of a prediction job with its description.

    Parameters
    ----------
    encoders : that it was made of; None for the CNN. regions : its region branch is on.
    """
    items = job.items
    record = {} if encoders is None else encoders.record
    about = Description(
        model=job.model,
        task=str(items.info["task"]),
        dataset=str(items.info["dataset"]),
        architecture=None if encoders is None else encoders.config.to_dict(),
        record={key: record[key] for key in ("motifs", "pretrain") if key in record},
        outputs=outputs_of(items),
        multiclass=items.multiclass,
        regions=regions,
        focus=items.focus,
        length=items.codes.shape[1],
        strand_specific=items.strand_specific,
        anchor_hidden=not items.anchor_shown,
        exclude=locus_window(items, job.context.shards.width)[1] if regions else 0,
    )
    return Fitted(network, about)


def write(path: str | Path, kept: Fitted) -> None:
    """Write a network."""
    weights = {
        name: value.detach().to("cpu").numpy() for name, value in kept.network.state_dict().items()
    }
    text = json.dumps({"format": FORMAT, "about": asdict(kept.about)}, sort_keys=True)
    write_tensors(path, weights, genebert=text)


def load(path: str | Path, device: str | torch.device = "cpu") -> Fitted:
    """Read a network.

    Raises
    ------
    InputError
        If the file is none, or one of a model that is no network.
    """
    with (
        reading(path, "is no fitted network", SafetensorError, TypeError, KeyError),
        safe_open(path, framework="pt", device=str(device)) as file,
    ):
        record = json.loads(file.metadata()["genebert"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if record is None:
        raise InputError(
            "no network was kept: the model is none, or was not fitted on all labels", file=path
        )
    if record["format"] != FORMAT:
        raise InputError("unknown format", file=path, found=record["format"], expected=FORMAT)
    about = from_record(record["about"])
    network = build(about)
    network.load_state_dict(weights)
    return Fitted(network.to(device).eval(), about)


def from_record(record: Mapping[str, Any]) -> Description:
    """Return the description that JSON holds."""
    tuples = {
        key: None if record[key] is None else tuple(record[key]) for key in ("outputs", "focus")
    }
    return Description(**{**record, **tuples})


def build(about: Description) -> Network:
    """Return the network without its weights."""
    if about.architecture is None:
        from genebert.cnn import SequenceCnn

        return SequenceCnn(len(about.outputs), about.focus)
    encoders = Pretrained.random(ModelConfig(**about.architecture), 0)
    return Classifier(encoders, len(about.outputs), about.regions, about.focus)
