"""The front page's chart of speed, from the table of chapter 8: `python .ci/pictures.py [--out FILE]`."""

import argparse
import json
import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
OURS = {"mlp_bench, fleet of 64", "mlp_bench, one network"}
CHOSEN = [
    *OURS,
    "JAX, compiled scan",
    "scikit-learn (no dropout)",
    "Keras fit, JAX backend",
    "PyTorch, eager",
    "Keras fit, fed by tf.data",
    "Keras fit, defaults",
]


def printed(nb, begins):
    "What the cell that begins so has printed or shown, as plain text"
    cell = next(c for c in nb["cells"] if c["cell_type"] == "code" and begins in "".join(c["source"]))
    return "".join("".join(o.get("text") or o["data"]["text/plain"]) for o in cell["outputs"])


def steps(table):
    "{contender: (µs a step, times ours)} from the table of training on heart"
    rows = (re.split(r"\s{2,}", line.strip()) for line in table.splitlines()[1:])
    return {label: (float(us), float(ratio)) for label, us, ratio, *_ in rows}


def draw(found, machine):
    "A dot for each contender, fastest on top; ours in colour"
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "speed", "font.family": "sans-serif"}
    names = sorted((n for n in CHOSEN if n in found), key=lambda n: -found[n][0])
    fig, ax = plt.subplots(figsize=(8.2, 3.4), layout="constrained")
    for y, name in enumerate(names):
        (us, ratio), colour = found[name], "#0072b2" if name in OURS else "#777777"
        ax.plot([1, us], [y, y], color=colour, lw=1.5)
        ax.plot(us, y, "o", color=colour, ms=8)
        ax.annotate(
            f"{us:,.{us < 100:d}f} µs   {ratio:.{2 if ratio < 1 else int(ratio < 10)}f}×",
            (us, y),
            (9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    ax.set_yticks(range(len(names)), names)
    ax.set(
        xscale="log",
        ylim=(-0.6, len(names) - 0.4),
        xlim=(4, 4 * max(us for us, _ in found.values())),
        xlabel=f"one training step, µs (logarithmic) · {machine}",
    )
    ax.set_title("One training step of the same small network", loc="left", fontsize=12)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return fig


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "nbs/images/speed.svg", help="where to write it")
    nb = json.loads((ROOT / "nbs/08_bench.ipynb").read_text(encoding="utf-8"))
    machine = printed(nb, 'bench(tasks=["heart"]').split(";")[0]
    draw(steps(printed(nb, 'shown(results, "heart", 1)')), machine + ", one core").savefig(
        parser.parse_args().out, metadata={"Date": None}, facecolor="white"
    )
