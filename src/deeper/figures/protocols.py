"""What more crops of an image give, and what they cost."""

from collections.abc import Mapping

from deeper.evaluation.metrics import Metrics, difference_interval
from deeper.figures.picture import COLOURS, Picture


def draw(measured: Mapping[str, tuple[Metrics, float]]) -> Picture:
    """Title of a protocol → metrics on the same images, and milliseconds an image; the first is the base."""
    picture = Picture(7, 0.9 + 0.4 * len(measured))
    gain, cost = picture.subplots(1, 2, sharey=True)
    (base, _), *_ = measured.values()
    for y, (metrics, milliseconds) in enumerate(measured.values()):
        accuracy = f"{100 * metrics.top1 / metrics.n:.1f} %"
        points = 100 * (metrics.top1 - base.top1) / base.n
        if metrics is not base:  # the interval is one of errors, so `after` comes first
            low, high = (100 * end for end in difference_interval(metrics.right1, base.right1))
            gain.hlines(y, low, high, COLOURS[0], lw=2)
        gain.plot(points, y, "o", color=COLOURS[0])
        gain.annotate(accuracy, (points, y), (0, 6), textcoords="offset points", ha="center")
        cost.bar_label(cost.barh(y, milliseconds, 0.5, color=COLOURS[0]), fmt=" %.0f")
    gain.axvline(0, color="#888888", lw=1, ls="--")
    gain.set_yticks(range(len(measured)), measured)
    gain.set(xlabel="top-1, and points over the first (95 %)", ylim=(len(measured) - 0.5, -0.7))
    gain.set_ylabel("protocol, crops")
    cost.set(xlabel="milliseconds an image")
    cost.margins(x=0.15)
    for axes in (gain, cost):
        axes.tick_params(axis="y", length=0)
    return picture
