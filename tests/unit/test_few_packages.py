"""Training and the programs for a GPU run where little is installed: the rest is hidden."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata

import pytest

from pretrain_toys import toy_block, toy_shards, written_shards

KEPT = ("torch", "numpy", "scipy", "safetensors")
HIDE = """
import runpy, sys
from importlib.machinery import PathFinder
class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in {hidden}:
            return super().find_spec(name, path, target)
sys.meta_path = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
sys.path[:0] = {path}
sys.argv = {argv}
"""


def others(kept):
    """Return the modules of all installed packages but some and what these need."""

    def plain(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    found, queue = set(), list(kept)
    while queue:
        name = plain(queue.pop())
        if name not in found:
            found.add(name)
            try:
                needs = metadata.requires(name) or []
            except metadata.PackageNotFoundError:  # for another system
                continue
            queue += [re.match(r"[\w.-]+", need)[0] for need in needs if "extra ==" not in need]
    owners = metadata.packages_distributions()
    return {name for name, of in owners.items() if not found & {plain(owner) for owner in of}}


def bare(root, code, *argv, also=()):
    folders = ["workflow/scripts", "tests", "tests/benchmarks", "tests/gpu"]
    hidden = others((*KEPT, *also))
    assert {"pysam", "pandas", "h5py", "yaml", "threadpoolctl"} <= hidden
    start = HIDE.format(
        hidden=hidden, path=[str(root / folder) for folder in folders], argv=list(argv)
    )
    call = [sys.executable, "-c", start + code]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_training_needs_four_packages(root, tmp_path):
    block = toy_block(evaluation_loci=16, evaluation_spans=[5])
    index = written_shards(toy_shards(), tmp_path)
    settings = {"variant": block, "seed": 1, "steps": 2, "index": str(index)}
    run = tmp_path / "run.json"
    run.write_text(json.dumps(settings))
    program = str(root / "workflow" / "scripts" / "genebert" / "pretrain.py")
    code = f"runpy.run_path({program!r}, run_name='__main__')"
    bare(root, code, program, "--config", str(run), "--output", str(tmp_path / "out"))
    assert (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize("programs", ["bench, profile_step, peers, pretrain", "test_device"])
def test_programs_for_a_gpu_need_no_more(root, programs):
    also = ("pytest",) if programs.startswith("test_") else ()
    bare(root, f"import {programs}", also=also)
