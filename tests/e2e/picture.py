"""The demo's picture: the answers that users got over time, and the events that explain them."""

import math

import matplotlib
from matplotlib.figure import Figure

COLOURS = {"2xx": "#2f855a", "5xx": "#c53030", "other": "#b7791f"}
INK, PAPER = "#1a202c", "#ffffff"
# Text stays text, and the same data gives the same file.
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "apigw-rollback",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw(path, title, panels):
    """Writes the picture as SVG, with the panels one below the other."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.6 * len(panels)), facecolor=PAPER, layout="constrained")
        figure.suptitle(title, fontsize=13, fontweight="bold")
        for axes, panel in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels):
            panel.draw_on(axes)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None, "Title": title})
    return path


class Panel:
    """Requests per second by kind in one span of time, with the events marked."""

    def __init__(self, title, answers, moments, zero, span, step, colours=None, since="users got the first error"):
        """Takes `answers` as (time, kind), or (time, status) without `colours`, and `moments` as (time, text). `span` is
        (from, to) in seconds relative to the time `zero`, which is that of `since`; a bar covers `step` seconds."""
        self.title = title
        self.colours = colours or COLOURS
        self.since = since
        self.answers = [(at - zero, kind if colours else kind_of(kind)) for at, kind in answers]
        self.moments = sorted((at - zero, text) for at, text in moments)
        self.step = step
        # A step begins at zero, so that no step mixes answers before and after it.
        self.start, self.end = (math.floor(span[0] / step) * step, math.ceil(span[1] / step) * step)

    def draw_on(self, axes):
        steps = round((self.end - self.start) / self.step)
        edges = [self.start + nth * self.step for nth in range(steps + 1)]
        below = [0.0] * steps
        for kind, colour in self.colours.items():
            rates = self._rates(kind, steps)
            if any(rates):
                above = [low + rate for low, rate in zip(below, rates)]
                axes.stairs(above, edges, baseline=below, fill=True, color=colour, label=kind)
                below = above
        self._mark(axes, max(below, default=1.0) or 1.0)
        axes.set_title(self.title, loc="left", fontsize=11)
        axes.set_xlim(self.start, self.end)
        axes.set_xlabel(f"seconds since {self.since}")
        axes.set_ylabel("requests per second")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), frameon=False, ncols=len(self.colours))

    def _rates(self, wanted, steps):
        counts = [0] * steps
        for at, kind in self.answers:
            nth = int((at - self.start) // self.step)
            if 0 <= nth < steps and kind == wanted:
                counts[nth] += 1
        return [count / self.step for count in counts]

    def _mark(self, axes, highest):
        """Draws a line for each moment, with its text one row below the previous text."""
        row = highest * 0.12
        top = highest * 1.1 + row * (len(self.moments) + 1)
        axes.set_ylim(0, top)
        for nth, (at, text) in enumerate(self.moments):
            height = top - row * (nth + 1.6)
            axes.plot([at, at], [0, height + row * 0.8], color=INK, linewidth=1, linestyle=(0, (3, 2)))
            late = at > self.start + 0.6 * (self.end - self.start)
            axes.annotate(
                text, (at, height), xytext=(-5 if late else 5, 0), textcoords="offset points",
                ha="right" if late else "left", va="bottom",
                bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5},
            )


def kind_of(status):
    """Returns the key of `COLOURS` for a status."""
    family = f"{status // 100}xx"
    return family if family in COLOURS else "other"
