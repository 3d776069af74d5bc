"""Write the sequence encoder as a directory that `transformers` loads.

    python -m genebert.huggingface results/pretrain/full/seed-1 exported/

In: a directory of pre-trained weights. Out: ``config.json``, ``model.safetensors``, the tokeniser's
``tokenizer_config.json``, and the code of model and tokeniser, which a reader allows to run by
``AutoModel.from_pretrained("exported", trust_remote_code=True)``. The code is needed because no
architecture of the library is ours (pre-norm, rotary positions, biases, GELU in its tanh form);
vectors are those of ``Pretrained.embed_sequences`` to rounding. The region encoder reads matrices,
not text, and stays with ``genebert.load``.
"""

from __future__ import annotations

import json
from pathlib import Path

from genebert.errors import InputError
from genebert.pretrained import CONFIG, WEIGHTS, Pretrained, write_atomic
from genebert.tensor_files import write_tensors

CODE = ("modeling_genebert.py", "tokenization_genebert.py")
SEQUENCE = "sequence.py"  # genebert/model/sequence.py, without its import of a type
_TYPE_IMPORT = "from genebert.model.config import ModelConfig\n"
_KEPT = ("k", "stride", "d_model", "n_layers", "n_heads", "pooling", "dropout")


def export(source: str | Path, directory: str | Path, seed: int | None = None) -> None:
    """Write the sequence encoder of a pre-trained model for `transformers`.

    Parameters
    ----------
    source : as for :meth:`Pretrained.load`.
    directory : a new or empty directory.
    seed : which seed of a variant.

    Raises
    ------
    InputError
        If there is no model, or the directory holds files.
    """
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError("holds files already", file=directory, expected="a new directory")
    encoders = Pretrained.load(source, seed)
    directory.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parent
    for name in CODE:
        write_atomic(directory / name, (here / name).read_text(encoding="utf-8"))
    code = (here.parent / "model" / SEQUENCE).read_text(encoding="utf-8")
    if _TYPE_IMPORT not in code:
        raise AssertionError(f"{SEQUENCE} has other imports than this export knows")
    write_atomic(directory / SEQUENCE, code.replace(_TYPE_IMPORT, ""))
    encoder = encoders.model.sequence
    tensors = {**encoder.state_dict(), "cos": encoder.cos, "sin": encoder.sin}
    weights = {f"sequence.{name}": tensor.numpy() for name, tensor in tensors.items()}
    write_tensors(directory / WEIGHTS, weights, format="pt")
    config = {
        "model_type": "genebert",
        "architectures": ["GeneBertModel"],
        "auto_map": {
            "AutoConfig": "modeling_genebert.GeneBertConfig",
            "AutoModel": "modeling_genebert.GeneBertModel",
        },
        **{key: getattr(encoders.config, key) for key in _KEPT},
        "vocabulary": encoders.config.vocabulary,
    }
    tokenizer = {
        "tokenizer_class": "GeneBertTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_genebert.GeneBertTokenizer", None]},
        "k": encoders.config.k,
        "stride": encoders.config.stride,
    }
    write_atomic(directory / "tokenizer_config.json", json.dumps(tokenizer, indent=1) + "\n")
    write_atomic(directory / CONFIG, json.dumps(config, indent=1) + "\n")
