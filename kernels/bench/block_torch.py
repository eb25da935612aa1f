#!/usr/bin/env python3
"""The transformer block of BenchmarkTransformerBlock in PyTorch.

4 × 512 tokens, width 512, 8 heads, pre-norm, exact GELU, MLP four times as wide, weights
[in, out]; the training step is the mean square of the result and its gradients of all
inputs.

Usage: block_torch.py forward|backward THREADS REPETITIONS   times it, prints one JSON object
       block_torch.py export DIR                             writes both passes as ONNX graphs
"""

import json
import math
import resource
import sys
import time

import torch

BATCH, TOKENS, WIDTH, HEADS = 4, 512, 512, 8
FLOPS = 2 * BATCH * TOKENS * WIDTH * 12 * WIDTH + 4 * BATCH * TOKENS * TOKENS * WIDTH
EPS = 1e-5
NAMES = "x g1 b1 wq bq wk bk wv bv wo bo g2 b2 w1 c1 w2 c2".split()


def inputs():
    torch.manual_seed(1)
    root, d = WIDTH**-0.5, WIDTH
    shapes = {"x": (BATCH, TOKENS, d), "w1": (d, 4 * d), "c1": (4 * d,), "w2": (4 * d, d)}
    out = []
    for name in NAMES:
        shape = shapes.get(name, (d, d) if name[0] == "w" else (d,))
        scale = 1 if name == "x" else root / (2 if name == "w2" else 1) if name[0] == "w" else 0.1
        out.append(torch.randn(shape) * scale + (1 if name[0] == "g" else 0))
    return out


def heads(y):
    return y.view(BATCH, TOKENS, HEADS, WIDTH // HEADS).transpose(1, 2)


def forward(x, g1, b1, wq, bq, wk, bk, wv, bv, wo, bo, g2, b2, w1, c1, w2, c2):
    h = torch.nn.functional.layer_norm(x, (WIDTH,), g1, b1, EPS)
    q, k, v = heads(h @ wq + bq), heads(h @ wk + bk), heads(h @ wv + bv)
    p = torch.softmax(q @ k.transpose(2, 3) * (WIDTH // HEADS) ** -0.5, -1)
    y = x + (p @ v).transpose(1, 2).reshape(BATCH, TOKENS, WIDTH) @ wo + bo
    h = torch.nn.functional.layer_norm(y, (WIDTH,), g2, b2, EPS)
    return y + torch.nn.functional.gelu(h @ w1 + c1) @ w2 + c2


class Forward(torch.nn.Module):
    """forward with its weights as constants, as a model to be served has them."""

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.nn.ParameterList([torch.nn.Parameter(w, requires_grad=False) for w in weights])

    def forward(self, x):
        return forward(x, *self.weights)


class Step(torch.nn.Module):
    """The training step with its gradients written out, for a runtime without any."""

    def forward(self, x, g1, b1, wq, bq, wk, bk, wv, bv, wo, bo, g2, b2, w1, c1, w2, c2):
        def norm(x):
            centred = x - x.mean(-1, keepdim=True)
            r = 1 / torch.sqrt((centred * centred).mean(-1, keepdim=True) + EPS)
            return centred * r, r

        def norm_back(d, n, r):
            return r * (d - d.mean(-1, keepdim=True) - n * (d * n).mean(-1, keepdim=True))

        def rows(y):
            return y.reshape(BATCH * TOKENS, -1)

        def merge(y):
            return y.transpose(1, 2).reshape(BATCH, TOKENS, WIDTH)

        def total(y):
            return rows(y).sum(0)

        scale = (WIDTH // HEADS) ** -0.5
        n1, r1 = norm(x)
        h1 = n1 * g1 + b1
        q, k, v = heads(h1 @ wq + bq), heads(h1 @ wk + bk), heads(h1 @ wv + bv)
        p = torch.softmax(q @ k.transpose(2, 3) * scale, -1)
        o = merge(p @ v)
        y = x + o @ wo + bo
        n2, r2 = norm(y)
        h2 = n2 * g2 + b2
        u = h2 @ w1 + c1
        cdf = 0.5 * (1 + torch.erf(u * 0.5**0.5))
        a = u * cdf
        z = y + a @ w2 + c2
        dz = z * (2 / (BATCH * TOKENS * WIDTH))
        da = dz @ w2.t()
        du = da * (cdf + u * torch.exp(u * u * -0.5) * (1 / math.sqrt(2 * math.pi)))
        dh2 = du @ w1.t()
        dy = dz + norm_back(dh2 * g2, n2, r2)
        do = heads(dy @ wo.t())
        dp = do @ v.transpose(2, 3)
        ds = p * (dp - (dp * p).sum(-1, keepdim=True)) * scale
        dq, dk, dv = merge(ds @ k), merge(ds.transpose(2, 3) @ q), merge(p.transpose(2, 3) @ do)
        dh1 = dq @ wq.t() + dk @ wk.t() + dv @ wv.t()
        dx = dy + norm_back(dh1 * g1, n1, r1)
        h1t, h2t = rows(h1).t(), rows(h2).t()
        return (
            (z * z).mean(), dx, total(dh1 * n1), total(dh1),
            h1t @ rows(dq), total(dq), h1t @ rows(dk), total(dk), h1t @ rows(dv), total(dv),
            rows(o).t() @ rows(dy), total(dy), total(dh2 * n2), total(dh2),
            h2t @ rows(du), total(du), rows(a).t() @ rows(dz), total(dz),
        )  # fmt: skip


def step(args):
    loss = forward(*args).square().mean()
    return (loss, *torch.autograd.grad(loss, args))


def export(folder):
    """Writes DIR/{forward,backward}.onnx, their inputs and what PyTorch makes of them."""
    args = inputs()
    variables = [a.clone().requires_grad_() for a in args]
    passes = {
        "forward": (Forward(args[1:]), args[:1], ["z"], [forward(*args)]),
        "backward": (Step(), args, ["loss"] + ["d" + n for n in NAMES], [t.detach() for t in step(variables)]),
    }
    for name, (module, given, outputs, want) in passes.items():
        with torch.no_grad():
            results = module(*given)
            for n, got, expected in zip(outputs, results if name == "backward" else [results], want):
                difference = (got - expected).norm().item()
                if not difference < 1e-4 * expected.norm().item() + 1e-6:  # that of bk is zero
                    sys.exit(f"block_torch: {n} of {name} is off by {difference:g}")
            names = NAMES[: len(given)]
            torch.onnx.export(module, tuple(given), f"{folder}/{name}.onnx", opset_version=14, input_names=names, output_names=outputs)
        files = {"inputs": [], "outputs": []}
        for kind, labels, tensors in (("inputs", names, given), ("outputs", outputs, want)):
            for n, t in zip(labels, tensors):
                path = f"{name}.{kind}.{n}.f32"
                t.contiguous().numpy().tofile(f"{folder}/{path}")
                files[kind].append({"name": n, "dims": list(t.shape), "file": path})
        with open(f"{folder}/{name}.json", "w") as f:
            json.dump({"flops": FLOPS * (3 if name == "backward" else 1), **files}, f)


def measure(name, threads, runs):
    torch.set_num_threads(threads)
    args = inputs()
    if name == "backward":
        args = [a.requires_grad_() for a in args]
    seconds = []
    for r in range(runs + 2):
        start = time.perf_counter()
        if name == "backward":
            step(args)
        else:
            with torch.no_grad():
                forward(*args)
        if r >= 2:
            seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    case = "transformer block, " + ("forward" if name == "forward" else "forward + backward")
    print(json.dumps({
        "case": case, "threads": threads, "runner": "PyTorch " + torch.__version__, "peak": peak, "seconds": seconds,
        "flops": FLOPS * (3 if name == "backward" else 1),
    }))  # fmt: skip


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "export":
        export(sys.argv[2])
    elif len(sys.argv) == 4 and sys.argv[1] in ("forward", "backward"):
        measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(__doc__)


main()
