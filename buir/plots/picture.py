"""A figure that a notebook shows by itself. Imported with the first picture: it needs Matplotlib."""

import io

from matplotlib.figure import Figure

__all__ = ["Picture"]


class Picture(Figure):
    """A figure that pyplot does not know, so that no backend has to be chosen to show it in a notebook."""

    def _repr_png_(self) -> bytes:
        self.savefig(drawn := io.BytesIO(), format="png")
        return drawn.getvalue()
