"""How an image is wanted, and the one way in which what has to be downloaded is obtained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from images.cache import Cache, DamagedError
from images.errors import ImageError
from images.progress import Progress

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """How an image is wanted: from which cache, whether the network may be used, whom to tell about progress."""

    cache: Cache
    offline: bool
    progress: Progress

    def obtain(
        self,
        name: str,
        find: Callable[[], T | None],
        make: Callable[[], T],
        *,
        variable: str = "",
        error: type[ImageError] = ImageError,
    ) -> T:
        """What ``find`` has, or else what ``make`` downloads, one process at a time.

        ``error`` is raised where that needs the network and it is not to be used; ``variable`` is the environment
        variable that names one of the user's own instead.
        """
        if (found := self.sound(find)) is not None:
            return found
        if self.offline:
            own = f", or set {variable}" if variable else ""
            raise error(
                f"image {name} is not in the cache and the network is not to be used",
                where=str(self.cache.root),
                remedy=f"run 'realmcheck images provide {name}' with a network first{own}",
            )
        self.progress.step(name, "waiting", 0.0)
        with self.cache.lock(name):
            try:
                found = self.sound(find)
                return make() if found is None else found
            finally:
                self.progress.close()

    def sound(self, find: Callable[[], T | None]) -> T | None:
        """What ``find`` has, or None where it has to be made (again); without a network a damaged one is an error."""
        try:
            return find()
        except DamagedError:
            if self.offline:
                raise
            return None
