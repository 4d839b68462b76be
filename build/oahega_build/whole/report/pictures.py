"""Pictures inside the page: matplotlib's figures, SVG and PNG files of a run."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from oahega_build.errors import RunError
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.decoding import LARGEST_PICTURE
from oahega_edge.files import read_file
from oahega_edge.text import read_text


def panel() -> tuple[Figure, Axes]:
    """An empty figure that stands beside others."""
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    return figure, figure.subplots()


def plot_epochs(axes: Axes, log: Sequence[Mapping[str, float]], key: str, colour: object = None) -> None:
    """The curve of one figure over the epochs of a training."""
    axes.plot([line["epoch"] for line in log], [line[key] for line in log], color=colour)
    axes.set(xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def drawn(figure: Figure) -> Markup:
    """A figure as SVG."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    return _inline(buffer.getvalue())


def all_drawn(figures: Iterable[Figure]) -> list[Markup]:
    """Several of them."""
    return [drawn(figure) for figure in figures]


def embedded(path: Path) -> Markup:
    """A file of a run: SVG as it is, PNG as data. Raises RunError when it cannot be read."""
    try:
        if path.suffix == ".svg":
            return _inline(read_text(path, LARGEST_DOCUMENT))
        data = base64.b64encode(read_file(path, LARGEST_PICTURE)).decode()
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}); make the run again") from error
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(path.stem, data)


def _inline(svg: str) -> Markup:
    """The element alone, its ids made unlike those of the page's other pictures."""
    body = svg[svg.index("<svg") :]
    mark = f"p{hashlib.sha256(body.encode()).hexdigest()[:9]}-"
    for reference in ('id="', 'href="#', "url(#"):
        body = body.replace(reference, reference + mark)
    return Markup(body)
