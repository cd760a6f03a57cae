"""The training loop: iterations, tests, displays and snapshots."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from demitasse.caffe import device as devices
from demitasse.caffe import log, net_log, schema
from demitasse.caffe.layers.masked import Masked
from demitasse.caffe.layers.surgery import SurgeryLayer
from demitasse.caffe.net import Net
from demitasse.caffe.sources.ahead import WORKERS
from demitasse.caffe.training import debug as debugging
from demitasse.caffe.training import lr_policy, snapshot, solver_checks, solver_nets
from demitasse.caffe.training.display import Display
from demitasse.caffe.training.ranks import Pass, Ranks
from demitasse.caffe.training.resume import restore_sources, source_states
from demitasse.caffe.training.scoring import next_batch, solver_scores
from demitasse.caffe.training.signals import Signals
from demitasse.caffe.upgrade import upgrade_solver
from demitasse.caffe.weights import load_weights
from demitasse.errors import DivergedError


class Solver:
    """Trains a net by the settings of a SolverParameter.

    Args:
        param: the solver's settings; not changed.
        origin: the file they came from, for messages.
        device: the device to compute on; None uses ``solver_mode``.
        signals: the record of SIGINT and SIGHUP; None ignores them.
        ranks: the processes that train together; None for a single process.
        workers: the number of threads that prefetch images.

    Attributes:
        net: the net in training.
        test_nets: the nets for tests, which share its blobs; only rank 0 has them.
        iter: the number of updates done.
        seed: the seed of all generators; random if ``random_seed`` is negative.
        loss: the loss, averaged over all ranks and smoothed over ``average_loss`` iterations.
        rate: the learning rate of the last update.
        last_snapshot: the solverstate that was written or restored last.
        callbacks: functions called with the solver after each update.

    Raises:
        PrototxtError: settings contradict each other.
        UnknownNameError: the solver type is unknown.
        NetError: a net cannot be built.
        SnapshotError: snapshots are requested but cannot be written.
    """

    def __init__(
        self,
        param: schema.SolverParameter,
        origin: str = "solver",
        device: torch.device | None = None,
        signals: Signals | None = None,
        ranks: Ranks | None = None,
        workers: int = WORKERS,
    ) -> None:
        self.param = upgrade_solver(schema.SolverParameter.FromString(param.SerializeToString()))
        self.device = device or devices.of_solver(self.param)
        self.ranks = ranks or Ranks()
        log.info("solver.cpp:44", f"Initializing solver from parameters: \n{self.param}")
        make_optimizer = solver_checks.optimizer_type(self.param, origin)
        solver_checks.check_evaluation(self.param, origin)
        self.prefix = solver_checks.snapshot_prefix(self.param, origin)
        if self.ranks.rank == 0:
            solver_checks.check_prefix(self.param, self.prefix)
        self._seed()
        self.net = self._move_to_device(solver_nets.train_net(self.param, origin))
        solver_checks.check_names(self.param, self.net)
        tested = solver_nets.test_nets(self.param, origin) if self.ranks.rank == 0 else []
        self.test_nets = [self._move_to_device(net) for net in tested]
        self.share_blobs()
        self._hand_out_generators(workers)
        self.optimizer = make_optimizer(self.net, self.param)
        self.iter = 0
        self.rate = 0.0
        self.losses: deque[float | Tensor] = deque(maxlen=max(self.param.average_loss, 1))
        self.last_snapshot: Path | None = None
        self.callbacks: list[Callable[[Solver], None]] = []
        self.stopped = False
        self._signals = signals or Signals()
        self._compressing = [layer for layer in self.net.named_layers().values() if isinstance(layer, Masked)]
        self._parameters = list(self.net.parameters())
        self._pass = self.ranks.wrap(self.net)
        self._display = Display(self.param.display, self.ranks)
        for names in self.param.weights:
            self.load_weights(names)
        log.info("solver.cpp:56", "Solver scaffolding done.")

    def _move_to_device(self, net: Net) -> Net:
        return solver_nets.move_to_device(net, self.device)

    def _seed(self) -> None:
        self.seed = self.param.random_seed
        if self.seed < 0:
            self.seed = self.ranks.gather(random.SystemRandom().randrange(2**32))[0]
            log.info("solver.cpp:44", f"random_seed is not given; this run's is {self.seed}")
        torch.manual_seed(self.seed)
        self.generator = random.Random(self.seed)

    def _hand_out_generators(self, workers: int) -> None:
        for layer in self.net.named_layers().values():
            if isinstance(layer, SurgeryLayer):
                layer.draw = self.generator.random
        sources = [source for net in (self.net, *self.test_nets) for source in net.sources.values()]
        for index, source in enumerate(sources):
            source.seed(self.seed + index)
            source.workers = workers
        for source in self.net.sources.values():
            source.split_among_ranks(self.ranks.rank, self.ranks.size)
        if self.ranks.rank:
            # dropout differs between ranks; surgery and sources draw the same numbers
            torch.manual_seed(self.seed + self.ranks.rank)

    def share_blobs(self) -> None:
        """Shares the blobs of the training net with the test nets, and warns of blobs that it does not have."""
        for index, net in enumerate(self.test_nets):
            if alone := solver_nets.share_blobs(net, self.net):
                log.warning(
                    "solver.cpp:336",
                    f"test net (#{index}): the training net does not have all blobs of {', '.join(map(repr, alone))}: "
                    "they keep their initial values, and are not part of snapshots",
                )

    def load_weights(self, names: str) -> None:
        """Copies the blobs of caffemodels into the net.

        Args:
            names: paths, separated by commas.

        Raises:
            FileFormatError: a file cannot be read.
            WeightsError: a file does not match the net.
        """
        for name in filter(None, (part.strip() for part in names.split(","))):
            log.info("caffe.cpp:155", f"Finetuning from {name}")
            load_weights(self.net, name)

    def restore(self, path: str | Path) -> None:
        """Restores training from a snapshot; see :func:`demitasse.caffe.training.snapshot.restore`."""
        snapshot.restore(self, path)
        self.last_snapshot = Path(path)

    def snapshot(self) -> Path:
        """Writes a snapshot and returns the path of its solverstate.

        Raises:
            SnapshotError: the snapshot cannot be written.
            DivergedError: a weight is not a finite number, or the masks of the ranks differ; nothing is written.
        """
        self.ranks.check_masks(self.net, self.iter)
        for blob in self.net.learnable:
            if not torch.isfinite(blob.tensor).all():
                raise self._diverged(f"blob {blob.index} of layer {blob.layer!r} has values that are not finite")
        self.last_snapshot = snapshot.write(self)
        return self.last_snapshot

    def solve(self) -> None:
        """Trains up to ``max_iter``; SIGINT stops it earlier, with a snapshot."""
        param = self.param
        log.info("solver.cpp:276", f"Solving {self.net.spec.name}")
        log.info("solver.cpp:277", f"Learning Rate Policy: {param.lr_policy}")
        self.stopped = False
        self.step(param.max_iter - self.iter)
        if param.snapshot_after_train and not (param.snapshot and self.iter % param.snapshot == 0):
            self.snapshot()
        if self.stopped:
            log.info("solver.cpp:311", "Optimization stopped early.")
            return
        if self._display.is_due(self.iter):
            with torch.no_grad():
                self._forward()
            log.info("solver.cpp:314", f"Iteration {self.iter}, loss = {log.number(self.loss)}")
        if param.test_interval and self.iter % param.test_interval == 0:
            self.test_all()
        log.info("solver.cpp:319", "Optimization Done.")

    def step(self, iterations: int) -> None:
        """Runs a number of iterations, with their tests, displays and snapshots; a signal may stop it earlier.

        Raises:
            DivergedError: the loss is not finite (the weights are those before that iteration), or the masks of the
                ranks differ.
        """
        end = self.iter + iterations
        self._display.restart(self.iter)
        while self.iter < end:
            if self._test_is_due():
                self.test_all()
                if self.stopped:
                    break
            self._iterate()
            self._heed_signals()
            if self.stopped:
                break

    def _test_is_due(self) -> bool:
        interval = self.param.test_interval
        if not interval or self.iter % interval:
            return False
        return bool(self.iter or self.param.test_initialization)

    def _heed_signals(self) -> None:
        regular = self.param.snapshot and self.iter % self.param.snapshot == 0
        asked, self.stopped = self.ranks.any(*map(self._signals.requested, ("snapshot", "stop")))
        if asked or regular:
            self.snapshot()

    def _iterate(self) -> None:
        self._before_iteration()
        display = self._display.is_due(self.iter)
        blobs = self._forward(backward=True, debug=display and self.param.debug_info)
        if display:
            self._display.log(self.iter, self.loss, self.net, blobs)
        self.rate = self._learning_rate()
        if display:
            log.info("sgd_solver.cpp:119", f"Iteration {self.iter}, lr = {log.number(self.rate)}")
        self._before_update()
        self.optimizer.step(self.rate, self.iter)
        self.iter += 1
        for callback in self.callbacks:
            callback(self)

    def _before_iteration(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _before_update(self) -> None:
        """Called between the backward passes and the update; does nothing here."""

    def _learning_rate(self) -> float:
        if self.param.lr_policy == "multistep" and self.iter in self.param.stepvalue:
            step = lr_policy.current_step(self.param, self.iter)
            log.info("sgd_solver.cpp:50", f"MultiStep Status: Iteration {self.iter}, step = {step}")
        return lr_policy.learning_rate(self.param, self.iter)

    def _forward(self, backward: bool = False, debug: bool = False) -> dict[str, Tensor]:
        """Runs ``iter_size`` batches, records their mean loss, and returns the outputs of the last."""
        count = self.param.iter_size if backward else 1
        total: float | Tensor = 0.0
        for layer in self._compressing:
            layer.iteration = self.iter
        for number in range(1, count + 1):
            blobs, loss = self._run(self.net, backward, debug, last=number == count)
            total = total + self._checked(loss)
        self.losses.append(total / count)
        return blobs

    def _run(
        self, net: Net, backward: bool, debug: bool = False, last: bool = True
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Runs the next batch through a net, and returns its blobs and its loss.

        After the ``last`` backward of an iteration, the gradients are averaged over the ranks.
        """
        run = self._pass if net is self.net else Pass(net)
        blobs, loss = run(next_batch(net, self.device), net.shapes if debug else (), last)
        if debug:
            debugging.log_forward(net, blobs)
        if backward and loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        if debug:
            debugging.log_backward(net, blobs)
        return blobs, loss

    def _checked(self, loss: Tensor) -> float | Tensor:
        """Returns the loss averaged over the ranks: a number on the CPU; on a GPU, a tensor until it is displayed."""
        mean = self.ranks.mean(loss)
        if self.device.type != "cpu":
            return mean
        value = mean.item()
        if not math.isfinite(value):
            raise self._diverged(f"the loss is {value}")
        return value

    def _diverged(self, what: str) -> DivergedError:
        last = self.last_snapshot or "none"
        return DivergedError(f"iteration {self.iter}: {what}; the last good snapshot: {last}")

    @property
    def loss(self) -> float:
        """The loss smoothed over ``average_loss`` iterations."""
        value = float(sum(self.losses) / max(len(self.losses), 1))
        if not math.isfinite(value):
            raise self._diverged(f"the loss is {value}")
        return value

    def test_all(self) -> None:
        """Tests every test net. SIGINT stops it, and restores the position in the test data.

        Rank 0 tests, and the other ranks wait for it.

        Raises:
            DivergedError: the masks of the ranks differ.
        """
        self.ranks.check_masks(self.net, self.iter)
        for index in range(len(self.test_nets)):
            if not self.stopped:
                self._test(index)
        (self.stopped,) = self.ranks.any(self.stopped)

    def _test(self, index: int) -> None:
        net, batches = self.test_nets[index], self.param.test_iter[index]
        log.info("solver.cpp:334", f"Iteration {self.iter}, Testing net (#{index})")
        solver_nets.share_blobs(net, self.net)
        before = source_states(net)
        scores = solver_scores(self.param)
        loss = 0.0
        for _ in range(batches):
            self.stopped = self._signals.requested("stop")
            if self.stopped:
                restore_sources(net, before)
                log.info("solver.cpp:384", "Test interrupted.")
                return
            with torch.no_grad():
                blobs, part = self._run(net, backward=False)
            scores.add(net, blobs)
            if self.param.test_compute_loss:
                loss += part.item()
        if self.param.test_compute_loss:
            log.info("solver.cpp:388", f"Test loss: {log.number(loss / batches)}")
        net_log.output_lines("solver.cpp:401", "    Test net output", net, scores.means(batches))
