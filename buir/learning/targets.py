"""The target network: it learns nothing and follows the online network by an exponential moving average."""

from collections.abc import Mapping

import torch
from torch import Tensor

from buir.graph import Bags, EmbeddingEncoder, Encoder, WalkEncoder, read, take_rows

__all__ = ["LazyTarget", "TableTarget", "Target"]


class TableTarget:
    r"""The paper's target: after every step, every row moves, :math:`\xi \leftarrow \tau \xi + (1 - \tau) \theta`.

    Parameters
    ----------
    online
        The online table theta, shape (n_nodes, d), which changes in place; the target starts as a copy.
    encoder
        The encoder that both share.
    momentum
        tau in [0, 1): how much of the old target stays.
    """

    def __init__(self, online: Tensor, encoder: Encoder, momentum: float) -> None:
        self.online, self.encoder, self.momentum = online.detach(), encoder, momentum
        self.table = self.online.clone()

    def encode(self, rows: Tensor, key: int) -> Tensor:
        """Return the target's vectors of ``rows``, without gradient."""
        with torch.no_grad():
            return self.encoder.encode(self.table, rows, key)

    def after_step(self) -> None:
        """Follow the online table."""
        self.table.lerp_(self.online, 1 - self.momentum)

    def settled(self) -> Tensor:
        """Return the target table as of now."""
        return self.table

    def state(self) -> dict[str, Tensor]:
        """Return what continues it: "target", the table."""
        return {"target": self.table}

    def resume(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state, whose online table is the present one."""
        self.table.copy_(state["target"])


class LazyTarget:
    r"""The same moving average, worked out only for the rows that are read: exact, at a cost that the step decides.

    While an online row stands still for k steps, its target row obeys :math:`\xi \leftarrow \theta + \tau^k (\xi -
    \theta)`. So each row remembers when it was last settled; reading needs no write (a read row is a mixture of two
    tables), and a row is settled just before its online row changes.
    """

    def __init__(self, online: Tensor, encoder: EmbeddingEncoder | WalkEncoder, momentum: float) -> None:
        self.online, self.encoder, self.momentum = online.detach(), encoder, momentum
        self.table = self.online.clone()
        self.clock = 0
        self.settled_at = torch.zeros(len(online), dtype=torch.int32, device=online.device)

    def encode(self, rows: Tensor, key: int) -> Tensor:
        """Return the target's vectors of ``rows``, without gradient."""
        bags = self.encoder.bags(rows, key)
        kept = self._kept(bags.node)
        with torch.no_grad():
            return read(self.table, Bags(bags.node, bags.weight * kept, bags.width)) + read(
                self.online, Bags(bags.node, bags.weight * (1 - kept), bags.width)
            )

    def settle(self, rows: Tensor, online: Tensor) -> None:
        """Bring distinct rows up to date that the optimiser is about to change from their present values ``online``."""
        kept = self._kept(rows).unsqueeze(1)
        self.table.index_copy_(0, rows, torch.lerp(online, take_rows(self.table, rows), kept))
        self.settled_at.index_fill_(0, rows, self.clock)

    def after_step(self) -> None:
        """Let time pass."""
        self.clock += 1

    def settled(self) -> Tensor:
        """Return the target table as of now; every row is settled."""
        self.table = torch.lerp(self.online, self.table, self._kept(None).unsqueeze(1))
        self.settled_at.fill_(self.clock)
        return self.table

    def state(self) -> dict[str, Tensor]:
        """Return what continues it: "target", the table, and where rows of it wait, "age", int32, for how many steps.

        Settling here would round otherwise than at the moment that comes without it.
        """
        age = self.clock - self.settled_at
        return {"target": self.table} | ({"age": age} if age.any() else {})

    def resume(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state, whose online table is the present one."""
        self.table.copy_(state["target"])
        self.settled_at.fill_(self.clock)
        if "age" in state:
            self.settled_at -= state["age"].to(self.settled_at.device)

    def _kept(self, rows: Tensor | None) -> Tensor:
        """Return tau^k for rows that were settled k steps ago."""
        settled_at = self.settled_at if rows is None else self.settled_at.index_select(0, rows)
        age = (self.clock - settled_at).to(self.online.dtype)
        return torch.pow(self.momentum, age)


Target = TableTarget | LazyTarget
