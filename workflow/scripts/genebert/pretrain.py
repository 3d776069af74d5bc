"""Pre-training: from shards to `model.safetensors`, `config.json` and `metrics.jsonl`.

One process:     python pretrain.py --config run.json --output results/pretrain/full/seed-1
Several:         python -m torch.distributed.run --nproc-per-node=8 pretrain.py --config ...

The program resumes from ``state/{hash}`` in its output directory; the hash covers the settings,
the seed and the shards. On SIGTERM, SIGUSR1, SIGINT, after ``--stop-after`` seconds and when the
process ``--launcher`` is gone it writes its state and ends with exit code 75 (while it judges the
trained model a signal ends it at once: its state is written then); on bad input, and
when a loss is no longer finite, with 1 and one line, which it leaves for the retries
(`genebert.refusal`). ``metrics.jsonl`` is the same for the same run but for the groups named
``timing``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

if __name__ == "__main__":  # find the package beside this file, however it is started
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import torch.distributed as dist

from genebert.ahead import Ahead
from genebert.clock import Clock
from genebert.disk import sha256
from genebert.errors import InputError
from genebert.mgm_reference import SPANS
from genebert.objectives import MRM, OBJECTIVES, SRM, chance
from genebert.plan import Plan
from genebert.population import Population, background_population, build_population
from genebert.pretrained import CONFIG, WEIGHTS, save, write_atomic
from genebert.pretraining_evaluation import Answers, FixedSet, ask, summary
from genebert.refusal import refuse
from genebert.run_figures import final_rows
from genebert.sampler import Rows, Sampler
from genebert.samples import TRAIN, VALID, Corpus
from genebert.shards import Shards
from genebert.train_state import StateDirectory, difference, run_hash
from genebert.trainer import Place, Trainer

VERSION = 9
EXIT_STOPPED = 75  # EX_TEMPFAIL: try again, it resumes
METRICS = "metrics.jsonl"
DIVERGED = 4.0  # a mean loss above this many times its chance level
CHECK_EVERY = 10  # steps at most between looks at the clock and at signals, several processes
CHECK_SECONDS = 5.0  # of steps that take longer there are fewer between two looks
LONGEST_JUDGING = timedelta(days=1)  # that other processes wait for
# settings that do not change what is learned
UNHASHED = ("checkpoint_seconds", "keep_state", "processes", "micro_batch", "name", "memory_gb")

MAX = dist.ReduceOp.MAX

log = logging.getLogger("genebert")


class StopFlag:
    """Set by signals, by the clock and by the launcher's end; asks to write the state and end.

    Attributes
    ----------
    exits : what to log when a signal ends the process at once, as there is no state to write; None
        while there is.
    """

    def __init__(self, seconds: float | None, launcher: int | None = None) -> None:
        self.launcher = launcher
        self.exits: str | None = None
        self.started = time.monotonic()
        self.deadline = None if seconds is None else self.started + seconds
        self.signalled = False

    def listen(self, *, exits: bool = False) -> None:
        """Take SIGTERM, SIGUSR1 and SIGINT; with ``exits`` end at once until the first step."""
        self.exits = "stopped before the first step" if exits else None
        with suppress(ValueError):  # not in the main thread
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signalled = True
        self._exit()

    def _exit(self) -> None:
        if self.signalled and self.exits is not None:
            log.info("%s", self.exits)
            raise SystemExit(EXIT_STOPPED)

    @contextmanager
    def exiting(self, line: str) -> Iterator[None]:
        """Let a signal end the process at once, also one that has just come; log ``line`` then."""
        self.exits = line
        self._exit()
        yield
        self.exits = None

    def __bool__(self) -> bool:
        """Whether to stop now."""
        late = self.deadline is not None and time.monotonic() >= self.deadline
        orphan = self.launcher is not None and os.getppid() != self.launcher  # nobody waits for it
        return self.signalled or late or orphan


class Run:
    """One pre-training run: trains, logs, checkpoints, evaluates, writes its outputs."""

    def __init__(
        self,
        settings: dict[str, Any],
        shards: Shards,
        output: Path,
        identity: dict[str, Any],
        place: Place,
        windows: Shards | None = None,
    ) -> None:
        self.block: dict[str, Any] = settings["variant"]
        self.seed, self.steps = int(settings["seed"]), int(settings["steps"])
        self.output, self.hash, self.place = output, run_hash(identity), place
        self.state = StateDirectory(output / "state" / self.hash, identity)
        self.state.check_marker()
        plan = Plan.from_pretrain(self.block, self.seed)
        if MRM in plan.objectives:  # it needs SRM's matrices, with or without SRM
            plan = replace(plan, objectives=(*plan.objectives, SRM))
        self.corpus = Corpus.from_shards(shards, place.device)
        compared = plan.for_evaluation()
        self.population = build_population(self.corpus, compared, TRAIN, "training")
        population = self.population if plan == compared else self._other(plan, windows)
        self.trainer = Trainer(Sampler(population), self.block, self.steps, place)
        self.motifs = list(shards.motifs)
        self.rows: list[dict[str, Any]] = []
        self.answers: dict[str, Answers] = {}  # of the last step, by the name of the set
        self.sets: list[FixedSet] = []
        n = int(self.block.get("evaluation_loci", 256))
        for name, roles in (("valid", "training"), ("held_out", "held_out")):
            if name == "held_out" and not bool(self.corpus.held_out.any()):
                continue
            try:
                self.sets.append(
                    FixedSet.of(name, build_population(self.corpus, compared, VALID, roles), n)
                )
            except InputError as error:  # too few validation regions: train, but say so
                log.warning("no evaluation on %s: %s", name, error)
        self.log_every = int(self.block.get("log_every") or max(1, min(100, self.steps // 50)))
        evaluations = int(self.block.get("evaluations", 4 if self.steps >= 500 else 1))
        self.evaluate_at = {round(self.steps * (i + 1) / evaluations) for i in range(evaluations)}
        self.clock = Clock(self.trainer)
        # with several processes: the step of the next look at signals, and when and where the last
        self.look, self.looked = 0, (time.monotonic(), 0)

    def _other(self, plan: Plan, windows: Shards | None) -> Population:
        """Return the population that is trained on where it is not the one for comparison."""
        if plan.samples != "background":
            return build_population(self.corpus, plan, TRAIN, "training")
        if windows is None:
            raise InputError("windows outside the regions are missing", file="samples")
        corpus = Corpus.from_shards(windows, self.place.device, resident=False)
        return background_population(corpus, plan)

    # -- the loop --------------------------------------------------------------------------------

    def train(self, stop: StopFlag) -> bool:
        """Train to the end; return False if asked to stop before."""
        trainer = self.trainer
        state = self.state.load(self.place.device)
        if state is not None:
            trainer.restore(state, self.state.path)
            self.rows = json.loads(state["rows"])
            del state  # a second copy of the weights
            log.info("resuming at step %d of %d", trainer.step, self.steps)
        elif self.place.rank == 0:
            for line in self.state.others():
                log.warning("%s; it is left alone, and this run starts afresh", line)
        if not self.same_step():
            return False
        log.info(
            "%s: %d %s, %d parameters, %d steps of %d rows, %s", self.block.get("name", "run"),
            trainer.sampler.population.visits.numel(), trainer.sampler.plan.samples,
            trainer.model.n_parameters(), self.steps, trainer.sampler.plan.batch_size,
            self.place.device,
        )  # fmt: skip
        log.info("%s", self.clock.formula)
        every = float(self.block.get("checkpoint_seconds", 600))
        trainer.model.train()
        with Ahead(trainer.sample, self.steps, self.place.device) as batches:
            return self.loop(batches, stop, every)

    def loop(self, batches: Ahead[list[Rows]], stop: StopFlag, every: float) -> bool:
        """Take all steps that are left; return False if asked to stop before the last."""
        trainer, saved = self.trainer, time.monotonic()
        stop.exits = None  # from here on a state is written
        self.clock.start(batches)
        while trainer.step < self.steps:
            with self.clock.waiting():
                rows = batches(trainer.step)
            trainer.train_step(rows)
            done = trainer.step == self.steps
            if trainer.step % self.log_every == 0 or done:
                self.report()
            if trainer.step in self.evaluate_at:
                self.evaluate()
            saving = done or time.monotonic() - saved > every
            stopping, saving = self.agree(bool(stop), saving)
            if stopping or saving:
                self.checkpoint()
                saved = time.monotonic()
            if stopping:
                log.info("%s", self.stopped())
                return False
        return True

    def stopped(self) -> str:
        """Return the line of a run that resumes at this step."""
        return f"stopped at step {self.trainer.step} of {self.steps}; state is written"

    def same_step(self) -> bool:
        """Tell whether all processes resume at one step; a file system may show some an old state.

        If not, the run ends as one that was stopped, and is tried again.
        """
        step = torch.tensor([self.trainer.step], device=self.place.device)
        first, last = int(self.summed(-step, MAX).neg()), int(self.summed(step, MAX))
        if first != last:
            log.warning("processes found states of steps %d to %d; stopped", first, last)
        return first == last

    def agree(self, stopping: bool, saving: bool) -> tuple[bool, bool]:
        """Let all processes stop and save at the same step.

        They look after CHECK_EVERY steps, or after as many as the slowest takes CHECK_SECONDS for.
        """
        if self.place.world == 1:
            return stopping, saving
        step, (since, at) = self.trainer.step, self.looked
        if step < self.look and step < self.steps:
            return False, False
        pace = int(1000 * (time.monotonic() - since) / max(1, step - at))  # milliseconds a step
        mine = torch.tensor([stopping, saving, pace], device=self.place.device)
        stopping_, saving_, slowest = self.summed(mine, MAX).tolist()
        self.look = step + min(CHECK_EVERY, max(1, int(1000 * CHECK_SECONDS) // max(1, slowest)))
        self.looked = time.monotonic(), step
        return bool(stopping_), bool(saving_)

    # -- figures -----------------------------------------------------------------------------------

    def summed(self, value: torch.Tensor, op: Any = None) -> torch.Tensor:
        """Return the sum (or another reduction) of a tensor over all processes."""
        value = value.clone()
        if self.place.world > 1:
            dist.all_reduce(value, op=op or dist.ReduceOp.SUM)
        return value

    def check_finite(self) -> None:
        """End the run if a loss was not finite.

        Raises
        ------
        InputError
            With the step and the objective; a marker is left for the next try.
        """
        big = torch.iinfo(torch.int64).max
        first = torch.where(self.trainer.first_bad < 0, big, self.trainer.first_bad)
        if self.place.world > 1:
            dist.all_reduce(first, op=dist.ReduceOp.MIN)
        steps = first.tolist()
        if min(steps) < big:
            which = steps.index(min(steps))
            objective = (*OBJECTIVES, "all")[which]  # the gradient comes last
            what = "gradient" if objective == "all" else f"loss of {objective}"
            self.diverged(f"{what} is not finite", objective, min(steps))

    def diverged(self, what: str, objective: str, step: int) -> None:
        """Leave the marker and raise the one line."""
        name = str(self.block.get("name", "run"))
        message = f"pre-training {name}, seed {self.seed}, diverged at step {step + 1}: {what}"
        if self.place.rank == 0:
            self.state.mark_diverged(message, step + 1, objective)
            self.write_rows(self.state.path)
        raise InputError(message)

    def report(self) -> None:
        """Note the mean losses since the last report."""
        trainer = self.trainer
        self.check_finite()
        totals = self.summed(trainer.totals).tolist()
        trainer.totals.zero_()
        loss = {
            name: totals[i][0] / max(totals[i][1], 1.0)
            for i, name in enumerate(OBJECTIVES)
            if name in trainer.names
        }
        timing = self.clock.lap(trainer.step)
        row = {
            "kind": "train",
            "step": trainer.step,
            "loss": loss,
            "learning_rate": trainer.optimizer_config.rate(trainer.step - 1, self.steps),
            "grad_norm": float(trainer.grad_norm),
            "timing": timing,
        }
        self.rows.append(row)
        for name, value in loss.items():
            level = chance(name, 2.0 * trainer.sampler.plan.group if self.infonce(name) else 2.0)
            if value > DIVERGED * level:
                self.diverged(
                    f"mean loss of {name} is {value:.3f}, chance is {level:.3f}",
                    name, trainer.step - 1,
                )  # fmt: skip
        if self.place.rank == 0 and self.clock.due(trainer.step == self.steps):
            parts = [f"{name} {value:.4f}" for name, value in loss.items()]
            parts += [f"{key} {value:.4g}" for key, value in timing.items()]
            log.info("step %d/%d  %s", trainer.step, self.steps, "  ".join(parts))

    def infonce(self, name: str) -> bool:
        """Whether an objective is scored against a group of matrices."""
        return name == SRM and self.trainer.losses.infonce

    def evaluate(self) -> None:
        """Judge the model on the fixed sets (on the first process; the others go on and wait)."""
        if self.place.rank == 0:
            for fixed in self.sets:
                answers = ask(self.trainer.losses, fixed, self.trainer.bf16)
                if self.trainer.step == self.steps:
                    self.answers[fixed.name] = answers
                figures = summary(answers, self.trainer.losses.objectives)
                row = {
                    "kind": "evaluation",
                    "step": self.trainer.step,
                    "set": fixed.name,
                    **figures,
                }
                self.rows.append(row)
                shown = "  ".join(f"{k} {v:.4g}" for k, v in figures.items())
                log.info("evaluation on %s at step %d: %s", fixed.name, self.trainer.step, shown)
        self.clock.skip()

    def judge(self) -> None:
        """Add what is reported of the finished run: figures beside probes and references."""
        spans = self.block.get("evaluation_spans", SPANS)
        losses, bf16 = self.trainer.losses, self.trainer.bf16
        self.rows += final_rows(losses, self.sets, self.population, spans, bf16, self.answers)

    # -- files -------------------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """Write the state."""
        self.check_finite()
        state = self.trainer.state()
        state["totals"] = self.summed(self.trainer.totals)
        if self.place.rank == 0:
            # JSON text: the numbers come back bit for bit, and loading needs no pickled objects
            self.state.save(self.trainer.step, {**state, "rows": json.dumps(self.rows)})
            self.write_rows(self.state.path)
        if self.place.world > 1:
            dist.barrier()

    def write_rows(self, directory: Path) -> None:
        """Write `metrics.jsonl`: of the finished run, or, beside its state, of what it has done."""
        directory.mkdir(parents=True, exist_ok=True)
        write_atomic(directory / METRICS, "".join(json.dumps(row) + "\n" for row in self.rows))

    def finish(self, stop: StopFlag) -> None:
        """Judge, write the outputs, `config.json` last, and remove the state.

        The first process does; the others wait, for a launcher gives those up that end long before.
        """
        if self.place.world > 1:
            waiting = dist.new_group(backend="gloo", timeout=LONGEST_JUDGING)
            if self.place.rank == 0:
                self.write_outputs(stop)
            with suppress(RuntimeError):  # the first process was stopped: it writes, and tells
                dist.barrier(group=waiting)
        else:
            self.write_outputs(stop)

    def write_outputs(self, stop: StopFlag) -> None:
        """Judge, write the outputs and remove the state."""
        with stop.exiting(self.stopped()):
            self.judge()
        self.write_rows(self.output)
        save(
            self.output, self.trainer.model, run=self.hash, version=VERSION, seed=self.seed,
            steps=self.steps, objectives=list(self.trainer.names), motifs=self.motifs,
            pretrain=self.block,
        )  # fmt: skip
        if not self.block.get("keep_state", False):
            self.state.remove()


def open_place(device: str) -> Place:
    """Return this process's place; joins the others where it was started as one of several."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if kind == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if local >= found:
            raise InputError(
                "too few GPUs for the processes of this machine", file="pretrain.processes",
                found=f"{found} GPUs", expected=f"at least {local + 1}, or --device cpu",
            )  # fmt: skip
        torch.cuda.set_device(local)
        torch.set_float32_matmul_precision("high")
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    where = torch.device("cuda", local) if kind == "cuda" else torch.device("cpu")
    return Place(where, rank, world)


def read_settings(path: str) -> dict[str, Any]:
    """Read the JSON file of a run.

    Raises
    ------
    InputError
        If it is not there, is no JSON, or lacks a key.
    """
    try:
        settings: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except json.JSONDecodeError as error:
        raise InputError(f"is not JSON ({error})", file=path) from None
    for key in ("variant", "seed", "steps", "index"):
        if key not in settings:
            raise InputError(f"key {key!r} is missing", file=path)
    if int(settings["steps"]) < 1:
        raise InputError("no steps", file=path, found=settings["steps"], expected="at least 1")
    return settings


def identity(settings: dict[str, Any], index_sha256: str) -> dict[str, Any]:
    """Return all that a run's result depends on: settings, seed, steps, shards, version."""
    block = {key: value for key, value in settings["variant"].items() if key not in UNHASHED}
    return {
        "version": VERSION, "variant": block, "seed": settings["seed"],
        "steps": settings["steps"], "index": index_sha256,
    }  # fmt: skip


def hash_of(settings: dict[str, Any], index_sha256: str) -> str:
    """Return the hash that names the state."""
    return run_hash(identity(settings, index_sha256))


def is_finished(output: Path, state: str) -> bool:
    """Whether the outputs of this very run are there."""
    if not all((output / name).exists() for name in (CONFIG, WEIGHTS, METRICS)):
        return False
    try:
        return bool(json.loads((output / CONFIG).read_text()).get("run") == state)
    except json.JSONDecodeError:
        return False


def check_output(output: Path, mine: dict[str, Any]) -> None:
    """Refuse a directory that holds the finished model of another configuration.

    Raises
    ------
    InputError
        With what differs. (In the workflow the outputs of a rule are gone before it starts.)
    """
    if not all((output / name).exists() for name in (CONFIG, WEIGHTS, METRICS)):
        return
    try:
        found = json.loads((output / CONFIG).read_text())
        block = {key: value for key, value in found["pretrain"].items() if key not in UNHASHED}
        theirs = {"version": found["version"], "variant": block, "seed": found["seed"]}
        theirs |= {"steps": found["steps"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        theirs = {}
    ours = {key: value for key, value in mine.items() if key != "index"}
    raise InputError(
        "holds a finished run of another configuration", file=output,
        found=difference(theirs, ours) or "other shards",
        expected="another --output, or the old one removed",
    )  # fmt: skip


def run(
    settings: dict[str, Any],
    shards: Shards,
    output: Path,
    *,
    index_sha256: str,
    stop: StopFlag,
    device: str = "cpu",
    windows: Shards | None = None,
) -> int:
    """Train on opened shards; return 0, or EXIT_STOPPED if asked to stop before the end.

    Parameters
    ----------
    windows : outside the regions, for a variant that is trained on them.
    """
    place = open_place(device)
    job = Run(settings, shards, output, identity(settings, index_sha256), place, windows)
    if not job.train(stop):
        return EXIT_STOPPED
    job.finish(stop)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", required=True, help="JSON file of the run")
    parser.add_argument("--output", help="directory; default: `output` of the file")
    parser.add_argument("--stop-after", type=float, help="seconds; then write the state and end")
    parser.add_argument(
        "--launcher", type=int, help="process that started this one; stop when it is gone"
    )
    parser.add_argument(
        "--how", type=json.loads, default={},
        help="JSON: threads, and keys of pretrain that the result does not depend on",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    options = parser.parse_args(argv)
    output = options.output
    try:
        settings = read_settings(options.config)
        settings["threads"] = options.how.get("threads", settings.get("threads"))
        settings["variant"] |= options.how.get("pretrain", {})
        stop = StopFlag(options.stop_after, options.launcher)
        stop.listen(exits=int(os.environ.get("WORLD_SIZE", "1")) == 1)  # several stop together
        torch.set_num_threads(int(settings.get("threads") or 1))
        output = output or settings.get("output")
        if output is None:
            raise InputError("no output directory", file=options.config, expected="--output")
        index = Path(settings["index"])
        sha = sha256(index) if index.exists() else ""
        beside = None
        if settings["variant"].get("samples") == "background":
            beside = index.with_name("background.safetensors")
            sha += sha256(beside) if beside.exists() else ""
        if is_finished(Path(output), hash_of(settings, sha)):
            log.info("%s: this run is finished", output)
            return 0
        check_output(Path(output), identity(settings, sha))
        shards, windows = Shards.open(index, memory_gb=settings["variant"].get("memory_gb")), None
        if beside is not None:
            from genebert.background import open_background  # late: it needs pandas

            windows = open_background(beside, shards)
        return run(
            settings, shards, Path(output), index_sha256=sha, stop=stop, device=options.device,
            windows=windows,
        )  # fmt: skip
    except InputError as error:
        log.error("%s", error)
        if output is not None and os.environ.get("RANK", "0") == "0":
            refuse(output, error)
        return 1
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


if __name__ == "__main__":
    from genebert.job import setup_log

    setup_log(None)
    sys.exit(main())
