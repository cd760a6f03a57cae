"""Solvers: the training loop of :mod:`demitasse.caffe.training.solver`, over nets with accessible blobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import net as caffe_net
from demitasse.caffe import parameters, schema
from demitasse.caffe.text import prototxt
from demitasse.caffe.training import debug as debugging
from demitasse.caffe.training import solver as caffe_solver
from demitasse.caffe.upgrade import upgrade_solver
from demitasse.errors import UsageError
from demitasse.pycaffe import mode
from demitasse.pycaffe.errors import check_file
from demitasse.pycaffe.net import Net, Path

Callback = Callable[[], object]


class _Training(caffe_solver.Solver):
    """The training loop, whose passes use the nets' blobs.

    Attributes:
        views: module -> net of pycaffe.
        started: functions called before each iteration.
        ready: functions called when the gradients of an iteration are computed.
    """

    def __init__(self, param: schema.SolverParameter, origin: str) -> None:
        super().__init__(param, origin, mode.current_device())
        self.views = {net: Net.of_module(net) for net in (self.net, *self.test_nets)}
        self.started: list[Callback] = []
        self.ready: list[Callback] = []
        self.optimizer.on_update = _show_update  # type: ignore[method-assign]

    @override
    def _move_to_device(self, net: caffe_net.Net) -> caffe_net.Net:
        # tensors stay in C order for numpy, which is not the fastest order
        for tensor in (*net.parameters(), *net.buffers()):
            tensor.data = tensor.data.to(self.device)
        return net

    @override
    def _before_iteration(self) -> None:
        self._follow_mode()
        self.views[self.net].clear_param_diffs()
        for callback in self.started:
            callback()

    def _follow_mode(self) -> None:
        if self.device != mode.current_device():
            self.device = mode.current_device()
            for history in self.optimizer.history:
                history.data = history.data.to(self.device)

    @override
    def _before_update(self) -> None:
        for callback in self.ready:
            callback()
        self.views[self.net].sync()

    @override
    def _run(
        self, net: caffe_net.Net, backward: bool, debug: bool = False, last: bool = True
    ) -> tuple[dict[str, Tensor], Tensor]:
        view = self.views[net]
        end = len(view.layers) - 1
        view.run_forward(0, end)
        blobs = {name: blob.values.tensor(self.device) for name, blob in view.module_blobs()}
        loss = net.loss(blobs)
        if debug:
            debugging.log_forward(net, blobs)
        if backward:
            view.run_backward(end, 0)
        if debug:
            for name, blob in view.module_blobs():
                blobs[name].grad = blob.gradient.tensor(self.device)
            debugging.log_backward(net, blobs)
        return blobs, loss

    def apply_update(self) -> None:
        """Updates the parameters from their gradients, as the next iteration would."""
        self._follow_mode()
        self.views[self.net].sync()
        self.optimizer.step(self._learning_rate(), self.iter)


def _show_update(blob: parameters.LearnableBlob, change: Tensor) -> None:
    """Replaces the gradient by the update, as Caffe does."""
    if blob.tensor.grad is None:
        blob.tensor.grad = torch.zeros_like(blob.tensor, requires_grad=False)
    blob.tensor.grad.copy_(change)


class Solver:
    """Trains a net. Created by :func:`get_solver`, or from a subclass, whose type overrides the type in the file.

    Args:
        solver_file: the solver's prototxt.

    Attributes:
        net: the net in training.
        test_nets: the nets for tests, which share its parameters.
        param: the settings.
        type: the solver type.

    Raises:
        MissingFileError: the file cannot be opened.
        PrototxtError: the file is not a solver.
        NetError: a net cannot be built.
        UsageError: :func:`~demitasse.pycaffe.set_solver_count` asks for several solvers.
    """

    type: ClassVar[str] = ""

    def __init__(self, solver_file: Path) -> None:
        check_file(solver_file)
        if mode.solver_count() != 1:
            raise UsageError(f"solver_count is {mode.solver_count()}; expected 1, since each process trains alone here")
        param = upgrade_solver(prototxt.read_solver(solver_file))
        if self.type:
            param.type = self.type
        if param.random_seed < 0 and (seed := mode.next_seed()) is not None:
            param.random_seed = seed
        self._training = _Training(param, str(solver_file))
        self.param = self._training.param
        self.net = self._training.views[self._training.net]
        self.test_nets = [self._training.views[net] for net in self._training.test_nets]

    @property
    def iter(self) -> int:
        """The number of updates done."""
        return self._training.iter

    def step(self, iterations: int) -> None:
        """Runs a number of iterations, with their tests, displays and snapshots.

        Afterwards the blobs have the values and gradients of the last iteration, and the diffs of parameters are the
        updates that were subtracted from them, as in Caffe.

        Raises:
            DivergedError: the loss is not finite.
        """
        self._training.step(iterations)

    def solve(self, resume_file: Path | None = None) -> None:
        """Trains up to ``max_iter``, from a snapshot if one is given; see :meth:`restore` for errors."""
        if resume_file is not None:
            self.restore(resume_file)
        self._training.solve()

    def restore(self, state_file: Path) -> None:
        """Restores training from a solverstate.

        Raises:
            SnapshotError: the solverstate belongs to another net, or its caffemodel is missing.
            FileFormatError: a file cannot be read.
        """
        self._training.restore(str(state_file))

    def snapshot(self) -> None:
        """Writes a caffemodel and a solverstate with the ``snapshot_prefix``.

        Raises:
            SnapshotError: a file cannot be written.
        """
        self.net.sync()
        self._training.snapshot()

    def apply_update(self) -> None:
        """Updates the parameters from their diffs, for custom training loops; ``iter`` does not change."""
        self._training.apply_update()

    def add_callback(self, on_start: Callback, on_gradients_ready: Callback) -> None:
        """Registers functions that are called before each iteration, and before its update."""
        self._training.started.append(on_start)
        self._training.ready.append(on_gradients_ready)

    def share_weights(self, net: Net) -> None:
        """Shares the parameters in training with another net."""
        net.share_with(self.net)


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    type = "SGD"


class NesterovSolver(Solver):
    """Nesterov's accelerated gradient."""

    type = "Nesterov"


class AdaGradSolver(Solver):
    """AdaGrad."""

    type = "AdaGrad"


class RMSPropSolver(Solver):
    """RMSProp."""

    type = "RMSProp"


class AdaDeltaSolver(Solver):
    """AdaDelta."""

    type = "AdaDelta"


class AdamSolver(Solver):
    """Adam."""

    type = "Adam"


class LarsSGDSolver(Solver):
    """SGD with layer-wise adaptive rates (LARS)."""

    type = "LarsSGD"


_CLASSES = {kind.type: kind for kind in Solver.__subclasses__()}


def get_solver(solver_file: Path) -> Solver:
    """Returns the solver of a prototxt, as an instance of the class for its type; see :class:`Solver` for errors."""
    check_file(solver_file)
    param = upgrade_solver(prototxt.read_solver(solver_file))
    return _CLASSES.get(param.type, Solver)(solver_file)


# its name in 2014
get_solver_from_file = get_solver
