"""What a benchmark measured, as tables of medians, spreads and ratios, and as a picture."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

Series = Mapping[str, Sequence[float]]  # of each contender, a value a round


def table(*, title: str, unit: str, found: Series, against: str) -> str:
    """Return one table; ratios are those of medians to `against`, where it is one of them."""
    base = statistics.median(found[against]) if against in found else None
    lines = [f"| {title} | {unit}, median | spread | x {against} |", "|---|---|---|---|"]
    for name, values in found.items():
        middle = statistics.median(values)
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        ratio = "" if base is None else f"{middle / base:.2f}"
        lines.append(f"| {name} | {middle:,.0f} | {spread} | {ratio} |")
    return "\n".join(lines)


def picture(*, title: str, unit: str, found: Series, path: Path) -> None:
    """Draw medians as bars with their spreads into the PNG `path`."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who draws needs it

    names = list(found)
    middles = [statistics.median(found[name]) for name in names]
    below = [middle - min(found[name]) for name, middle in zip(names, middles, strict=True)]
    above = [max(found[name]) - middle for name, middle in zip(names, middles, strict=True)]
    figure = Figure(figsize=(8, 0.6 * len(names) + 1.4), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, middles, xerr=[below, above], color="#33658a", ecolor="#888888", capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title(title)
    axes.bar_label(axes.containers[-1], fmt="{:,.0f}", padding=8)
    axes.margins(x=0.15)
    figure.savefig(path, dpi=110)
