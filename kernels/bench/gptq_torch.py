#!/usr/bin/env python3
"""GPTQ in PyTorch as its authors run it, timed beside kernels.SolveColumns.

The algorithm of IST-DASLab/gptq (arXiv:2210.17323), restated: float32 on the CPU, one
linear layer, from the Hessian to the codes. The damped Hessian goes through a Cholesky
factorization, an inverse and an upper Cholesky factorization; columns are rounded one by
one in blocks of 128, a block's errors reach the columns behind it by one product. Steps
and zero points of a group come from the weights as they are when the group begins, or, with
the columns in order of falling diagonal, from the original weights.

Usage: gptq_torch.py SOLVER N...   with SOLVER the program of kernels/bench/gptq
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import torch

BITS, GROUP, BLOCK, DAMP = 4, 128, 128, 0.01
REPEAT = 3
TOP = 2**BITS - 1


def grid(w):
    """Step and zero point of every row of w, asymmetric, the range containing 0."""
    low = w.min(1).values.clamp(max=0)
    high = w.max(1).values.clamp(min=0)
    empty = (low == 0) & (high == 0)
    low[empty], high[empty] = -1, 1
    step = (high - low) / TOP
    return step, torch.round(-low / step)


def solve(weight, hessian, by_diagonal):
    """Codes [rows, columns] in handled order and the loss summed over everything."""
    w, h = weight.clone(), hessian.clone()
    rows, columns = w.shape
    dead = torch.diag(h) == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    order = torch.arange(columns)
    if by_diagonal:
        grids = [grid(w[:, g : g + GROUP]) for g in range(0, columns, GROUP)]
        order = torch.argsort(torch.diag(h), descending=True)
        w, h = w[:, order], h[order][:, order]
    at = torch.arange(columns)
    h[at, at] += DAMP * torch.mean(torch.diag(h))
    u = torch.linalg.cholesky(h)
    u = torch.cholesky_inverse(u)
    u = torch.linalg.cholesky(u, upper=True)
    codes = torch.zeros_like(w)
    values = torch.zeros_like(w)
    losses = torch.zeros_like(w)
    for first in range(0, columns, BLOCK):
        last = min(first + BLOCK, columns)
        block = w[:, first:last].clone()
        rounded = torch.zeros_like(block)
        errors = torch.zeros_like(block)
        part = u[first:last, first:last]
        for i in range(last - first):
            column = first + i
            if by_diagonal:
                step, zero = grids[int(order[column]) // GROUP]
            elif column % GROUP == 0:
                step, zero = grid(w[:, column : column + GROUP])
            now = block[:, i]
            code = torch.clamp(torch.round(now / step) + zero, 0, TOP)
            rounded[:, i] = step * (code - zero)
            codes[:, column] = code
            error = (now - rounded[:, i]) / part[i, i]
            losses[:, column] = error**2 / 2
            block[:, i:] -= error.unsqueeze(1).matmul(part[i, i:].unsqueeze(0))
            errors[:, i] = error
        values[:, first:last] = rounded
        w[:, last:] -= errors.matmul(u[first:last, last:])
    if by_diagonal:
        back = torch.argsort(order)
        codes, values = codes[:, back], values[:, back]
    return codes.to(torch.int32), float(losses.double().sum())


def problem(n):
    """Weights [n, n] and the Hessian of 2n tokens with a few strong channels."""
    torch.manual_seed(n)
    x = torch.randn(2 * n, n) * (1 + 4 * (torch.rand(n) < 0.02).float())
    x += torch.randn(2 * n, 1)
    return torch.randn(n, n) * 0.05, x.t().matmul(x) * (2 / 16)


def compare(solver, n, folder):
    weight, hessian = problem(n)
    names = [os.path.join(folder, f) for f in ("w", "h", "codes")]
    weight.numpy().tofile(names[0])
    hessian.numpy().tofile(names[1])
    threads = sorted({1, os.cpu_count()})
    for by_diagonal in (False, True):
        theirs, ours = {t: [] for t in threads}, []
        for _ in range(REPEAT):  # in turns, so that all see the same machine
            for t in threads:
                torch.set_num_threads(t)
                start = time.perf_counter()
                codes, loss = solve(weight, hessian, by_diagonal)
                theirs[t].append(time.perf_counter() - start)
            out = subprocess.run(
                [solver, "-n", str(n), "-weights", names[0], "-hessian", names[1], "-codes", names[2]] + ["-order"] * by_diagonal,
                check=True, capture_output=True, text=True)
            result = json.loads(out.stdout)
            ours.append(result["seconds"])
        same = float((torch.from_file(names[2], size=n * n, dtype=torch.int32).view(n, n) == codes).float().mean())
        best = {t: min(seconds) for t, seconds in theirs.items()}
        print(f"[{n}, {n}] {'act-order, static groups' if by_diagonal else 'groups of ' + str(GROUP)}: torch "
              + ", ".join(f"{s:.2f} s with {t} thread{'s' * (t > 1)}" for t, s in best.items())
              + f"; SolveColumns {min(ours):.3f} s: {min(best.values()) / min(ours):.1f} times as fast as the faster; "
              f"loss {loss:.6g} and {result['loss']:.6g}; {100 * same:.2f} % of the codes agree", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    print(f"torch {torch.__version__}, {os.cpu_count()} cores; the fastest of {REPEAT} runs each, in turns")
    with tempfile.TemporaryDirectory() as folder:
        for size in sys.argv[2:]:
            compare(sys.argv[1], int(size), folder)
