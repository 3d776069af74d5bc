"""Conda environments and containers: pins, channels, and that each holds what its scripts import.

No channel is reached here. What can be known without one: every spec parses as conda would parse
it, pins are those of the lock, an interpreter that sees nothing but the packages of an environment
imports everything that the environment's scripts import, and a stand-in for conda is asked for the
right environment by every rule. `envs/channels.tsv` records which pinned versions were seen on
their channel, and where.
"""

from __future__ import annotations

import ast
import csv
import json
import re
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from rattler import MatchSpec

CHANNELS = ["conda-forge", "bioconda", "nodefaults"]
ENVIRONMENTS = ["workflow", "genomics", "torch", "tracks"]
# the name of a package on the package index, where it differs from conda's
PIP_NAMES = {
    "pytorch": "torch",
    "moods": "MOODS-python",
    "snakemake-minimal": "snakemake",
    "matplotlib-base": "matplotlib",
}
NOT_PYTHON = {"python", "bedtools"}  # not on the package index
PROGRAMS = {"run_pretrain.py": "pretrain.py"}  # started by the script, not imported


def specs(root: Path, name: str) -> list[str]:
    document = yaml.safe_load((root / f"envs/{name}.yaml").read_text())
    assert document["channels"] == CHANNELS
    return list(document["dependencies"])


def pip_name(package: str) -> str:
    return PIP_NAMES.get(package, package)


def lock(root: Path) -> dict[str, str]:
    lines = (root / "requirements.lock").read_text().splitlines()
    pairs = [line.split("#")[0].strip().split("==") for line in lines]
    return {pair[0].lower(): pair[1] for pair in pairs if len(pair) == 2}


# -- pins ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_spec_is_an_exact_pin_to_conda(root, name):
    for text in specs(root, name):
        spec = MatchSpec(text)  # raises where conda's grammar does not allow it
        package, version, *build = text.split("=")
        assert spec.name is not None
        assert spec.name.normalized == package
        assert str(spec.version) in (f"{version}.*", f"=={version}")  # =1.2 with a build is ==1.2
        assert (spec.build or "") == "".join(build)
        assert spec.channel is None


def test_a_spec_that_conda_would_not_read_is_an_error():
    with pytest.raises(Exception, match="unable to parse version spec"):
        MatchSpec("numpy==>2.4")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_pins_are_those_of_the_lock(root, name):
    locked = lock(root)
    for text in specs(root, name):
        package, version, *_ = text.split("=")
        if package not in NOT_PYTHON:
            assert locked[pip_name(package).lower()] == version, text


def test_training_gets_a_cuda_build(root):
    (spec,) = [text for text in specs(root, "torch") if text.startswith("pytorch=")]
    assert MatchSpec(spec).build == "cuda*"


def test_where_each_pin_was_seen_is_recorded(root):
    with open(root / "envs/channels.tsv") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert list(rows[0]) == ["package", "version", "channel", "status", "where"]
    recorded = {row["package"]: row for row in rows}
    assert len(recorded) == len(rows)
    pinned = {
        spec.split("=")[0]: spec.split("=")[1]
        for name in ENVIRONMENTS
        for spec in specs(root, name)
    }
    assert {name: row["version"] for name, row in recorded.items()} == pinned
    for row in rows:
        assert row["channel"] in CHANNELS[:2]
        assert row["status"] in ("seen", "unverified")
        assert row["where"], row["package"]  # where it was seen, or the newest that was seen
    told = (root / "docs/environments.md").read_text()
    for name, row in recorded.items():
        homes = [e for e in ENVIRONMENTS if name in {s.split("=")[0] for s in specs(root, e)}]
        line = re.search(rf"^\| {name} \| (.*)$", told, re.MULTILINE)
        assert line is not None, name
        version, channel, environments, _ = line[1].split(" | ", 3)
        assert (version, channel) == (row["version"], row["channel"])
        assert set(environments.split(", ")) == set(homes)


# -- what scripts import -----------------------------------------------------------------------------


def environment_of_scripts(root: Path) -> dict[str, set[str]]:
    """Return environment -> scripts, from the rules."""
    found: dict[str, set[str]] = {name: set() for name in ENVIRONMENTS}
    for file in (root / "rules").glob("*.smk"):
        environment = ""
        for name, kind in re.findall(
            r'"\.\./(?:envs/(\w+)\.yaml|workflow/scripts/(\w+\.py))"', file.read_text()
        ):
            if name:
                environment = name
            else:
                found[environment].add(kind)
    return found


class Unit:
    """A function, or what a module runs when it is imported: what it imports and mentions."""

    def __init__(self, nodes: list[ast.AST]) -> None:
        self.imports: set[str] = set()
        self.names: set[str] = set()
        for node in [inner for outer in nodes for inner in ast.walk(outer)]:
            if isinstance(node, ast.Import):
                self.imports |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                self.imports |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
            elif isinstance(node, ast.Name):
                self.names.add(node.id)
            elif isinstance(node, ast.Attribute):
                self.names.add(node.attr)


def units(tree: ast.Module) -> tuple[Unit, dict[str, Unit]]:
    """Return what runs at import, and the functions and methods by name.

    Methods like ``__init__`` count as run at import; blocks for the type checker and for a program
    do not.
    """
    functions: dict[str, Unit] = {}
    rest: list[ast.AST] = []
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
            functions[node.name] = Unit([node])
        elif isinstance(node, ast.ClassDef):
            waiting += node.body
            rest += [*node.bases, *node.decorator_list]
        elif not (
            isinstance(node, ast.If) and re.search("TYPE_CHECK|__name__", ast.unparse(node.test))
        ):
            rest.append(node)
    return Unit(rest), functions


def file_of(library: Path, module: str) -> Path | None:
    path = library.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.exists():
            return file
    return None


def reached(library: Path, start: list[Path], names: set[str]) -> set[str]:
    """Return the modules that running files and calling functions of these names imports.

    A function counts as called if its name is mentioned in something that runs: too many rather
    than too few.
    """
    modules: set[str] = set()
    known: dict[Path, tuple[Unit, dict[str, Unit]]] = {}
    files, done, names = set(start), set(), set(names)
    while True:
        size = (len(modules), len(names), len(done))
        for file in files:
            top, functions = known.setdefault(file, units(ast.parse(file.read_text())))
            if file not in done:
                done.add(file)
                modules, names = modules | top.imports, names | top.names
            if file == library / "genebert/__init__.py":
                continue  # `genebert.load` is for notebooks
            for name in names & set(functions):
                modules, names = modules | functions[name].imports, names | functions[name].names
        ours = {name: file_of(library, name) for name in modules if name.startswith("genebert")}
        files |= {file for file in ours.values() if file}
        if size == (len(modules), len(names), len(done)):
            return {name for name in modules if ours.get(name, name) and name != "__future__"}


def closure(packages: list[str]) -> dict[str, Distribution]:
    """Return the named distributions and all that they require, without extras."""
    found: dict[str, Distribution] = {}
    waiting = list(packages)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found[name] = distribution(name)
        for text in found[name].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def only(packages: list[str], site: Path) -> None:
    """Fill a directory with links to the files of these packages and what they require."""
    site.mkdir()
    for installed in closure(packages).values():
        for file in installed.files or ():
            top = file.parts[0]
            link, target = site / top, Path(str(installed.locate_file(top)))
            if top not in ("..", "__pycache__") and target.exists() and not link.is_symlink():
                link.symlink_to(target)


IMPORTER = """\
import importlib, json, sys
sys.path[:0] = json.loads(sys.argv[1])
missing = {}
for name in json.loads(sys.argv[2]):
    try:
        importlib.import_module(name)
    except ImportError as error:
        head = name.rpartition('.')[0]  # `from module import thing`: a thing is no module
        if not (head in sys.modules and hasattr(sys.modules[head], name.rpartition('.')[2])):
            missing[name] = str(error)
json.dump(missing, sys.stdout)
"""


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_holds_what_its_scripts_import(root, tmp_path, name):
    library = root / "workflow/scripts"
    scripts = sorted(environment_of_scripts(root)[name])
    assert scripts
    packages = [spec.split("=")[0] for spec in specs(root, name)]
    only([pip_name(p) for p in packages if p not in NOT_PYTHON], tmp_path / "site")
    start = [library / script for script in scripts]
    start += [library / "genebert" / PROGRAMS[script] for script in scripts if script in PROGRAMS]
    modules = sorted(reached(library, start, {"main"} if set(scripts) & set(PROGRAMS) else set()))
    paths = json.dumps([str(tmp_path / "site"), str(library)])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORTER, paths, json.dumps(modules)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}


def test_an_interpreter_that_sees_too_little_is_noticed(tmp_path):
    only(["packaging"], tmp_path / "site")
    paths, modules = json.dumps([str(tmp_path / "site")]), json.dumps(["packaging", "numpy.linalg"])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORTER, paths, modules],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert list(json.loads(done.stdout)) == ["numpy.linalg"]


# -- containers ------------------------------------------------------------------------------------


def test_both_images_are_the_lock_on_the_same_system(root):
    docker, apptainer = (
        (root / "containers" / name).read_text() for name in ("Dockerfile", "genebert.def")
    )
    systems = [
        re.findall(pattern, text, re.MULTILINE)
        for pattern, text in ((r"^FROM (\S+)$", docker), (r"^From: (\S+)$", apptainer))
    ]
    assert systems[0] == systems[1]
    (python,) = [text for text in specs(root, "workflow") if text.startswith("python=")]
    assert systems[0][0].startswith(f"python:{python.split('=')[1]}-")
    installed = [
        re.findall(r"apt-get install -qq -y --no-install-recommends ([\w+ ]+\w|[\w+ ]+)", text)
        for text in (docker, apptainer)
    ]
    assert installed[0] == installed[1]
    assert set(NOT_PYTHON) - {"python"} <= set(installed[0][0].split())
    for text in (docker, apptainer):
        assert re.search(r"requirements\.lock /opt/requirements\.lock$", text, re.MULTILINE)
        assert re.findall(r"^.*pip install (.*)$", text, re.MULTILINE) == [
            "--no-cache-dir -r /opt/requirements.lock"
        ]
