"""Penalised logistic regression of people on many features, by kernel or by weights.

In: a kernel n x n or features n x F, labels of n people. Out: coefficients, whose log odds are the
kernel, or the features, times them. Where there are more features than half the people the
regression is written in its dual form, with a kernel: a few milliseconds a fit however many there
are. Letters: n people, F features, D labellings.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Floats = NDArray[np.floating]


def sigmoid(x: Floats) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(x, np.float64))))


def kernel_logistic(
    kernel: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    start: NDArray[np.float64] | None = None,
    tolerance: float = 1e-5,
    max_steps: int = 50,
) -> NDArray[np.float64]:
    """Fit the logistic regression with an L2 penalty whose features have this Gram matrix.

    It maximises sum log P(y | f) - a' K a / 2 with f = K a, by Newton's method (Rasmussen and
    Williams 2006, algorithm 3.1). For K = v X X' it is the regression on X with the penalty
    ||w||^2 / (2 v), that is C = v in scikit-learn.

    Parameters
    ----------
    kernel : float64[n, n]. y : float64[n] of 0 and 1.
    start : float64[n] coefficients to start from.

    Returns
    -------
    a : float64[n]; the log odds of others are their kernel with the training rows times a.
    """

    def propose(a: NDArray[np.float64], f: NDArray[np.float64]) -> NDArray[np.float64]:
        p = sigmoid(f)
        root = np.sqrt(np.maximum(p * (1 - p), 1e-10))
        b = root**2 * f + y - p
        inner = root[:, None] * kernel * root
        inner.flat[:: len(y) + 1] += 1.0
        factor = cho_factor(inner, lower=True, overwrite_a=True, check_finite=False)
        return np.asarray(b - root * cho_solve(factor, root * (kernel @ b), check_finite=False))

    start = np.zeros(len(y)) if start is None else start
    return _climb(start, y, kernel, propose, lambda a, f: float(a @ f), tolerance, max_steps)


def feature_logistic(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    start: NDArray[np.float64] | None = None,
    tolerance: float = 1e-5,
    max_steps: int = 50,
) -> NDArray[np.float64]:
    """Fit the regression of :func:`kernel_logistic` with the kernel x x' by its weights.

    Faster where there are fewer features than people.

    Parameters
    ----------
    x : float64[n, F]. y : float64[n] of 0 and 1.
    start : float64[F] weights to start from.

    Returns
    -------
    w : float64[F]; the log odds of others are their features times w.
    """

    def propose(w: NDArray[np.float64], f: NDArray[np.float64]) -> NDArray[np.float64]:
        p = sigmoid(f)
        curvature = x.T @ (np.maximum(p * (1 - p), 1e-10)[:, None] * x)
        curvature.flat[:: len(w) + 1] += 1.0
        factor = cho_factor(curvature, lower=True, overwrite_a=True, check_finite=False)
        return np.asarray(w + cho_solve(factor, x.T @ (y - p) - w, check_finite=False))

    start = np.zeros(x.shape[1]) if start is None else start
    return _climb(start, y, x, propose, lambda w, f: float(w @ w), tolerance, max_steps)


def _climb(
    a: NDArray[np.float64],
    y: NDArray[np.float64],
    design: NDArray[np.float64],
    propose: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    norm: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    tolerance: float,
    max_steps: int,
) -> NDArray[np.float64]:
    """Return the coefficients that maximise sum log P(y | f) - norm / 2, f = design times them.

    Parameters
    ----------
    a : coefficients to start from. design : float64[n, coefficients].
    propose : the next coefficients of Newton's method, from the last ones and f; a step towards
        them that does not climb is halved.
    norm : squared length of the coefficients, from them and f.
    tolerance : largest change of a log odds, of 1 + the largest one, at which it ends.
    """

    def objective(a: NDArray[np.float64], f: NDArray[np.float64]) -> float:
        return float(-np.logaddexp(0, np.where(y > 0, -f, f)).sum() - 0.5 * norm(a, f))

    f = design @ a
    value = objective(a, f)
    for _ in range(max_steps):
        target, step = propose(a, f), 1.0
        while True:
            new_a = a + step * (target - a)
            new_f = design @ new_a
            new_value = objective(new_a, new_f)
            if new_value >= value or step < 1e-3:
                break
            step /= 2
        moved = float(np.abs(new_f - f).max())
        a, f, value = new_a, new_f, new_value
        if moved < tolerance * (1 + float(np.abs(f).max())):
            break
    return a


def kernel_logistic_columns(
    kernel: NDArray[np.float64],
    y_ND: NDArray[np.float64],
    *,
    tolerance: float = 1e-5,
    max_steps: int = 200,
) -> NDArray[np.float64]:
    """Return float64[n, D]: the coefficients of :func:`kernel_logistic` for D labellings at once.

    Newton's method with the curvature p (1 - p) replaced by its bound 1/4, which climbs in every
    step (Boehning and Lindsay 1988, doi:10.1007/BF00049423): more steps, but one factorisation.
    """
    inner = kernel / 4
    inner.flat[:: len(kernel) + 1] += 1.0
    factor = cho_factor(inner, lower=True, overwrite_a=True, check_finite=False)
    f_ND, a_ND = np.zeros_like(y_ND), np.zeros_like(y_ND)
    for _ in range(max_steps):
        a_ND = cho_solve(factor, f_ND / 4 + y_ND - sigmoid(f_ND), check_finite=False)
        last, f_ND = f_ND, kernel @ a_ND
        if np.abs(f_ND - last).max() < tolerance * (1 + np.abs(f_ND).max()):
            break
    return a_ND
