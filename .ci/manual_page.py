"""Hatch's hook that puts the manual page into the wheel, written anew from the declarations of the options."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPage(BuildHookInterface[Any]):
    """Writes the page before the wheel is made."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write ``share/man/man1/mrc2movie.1``; the options need no library, so none is installed for this."""
        sys.path.insert(0, self.root)
        try:
            from mrc2movie.cli.help import manual_page
        finally:
            sys.path.remove(self.root)
        self._directory = tempfile.TemporaryDirectory()
        page = Path(self._directory.name) / "mrc2movie.1"
        page.write_text(manual_page(), encoding="utf-8")
        build_data["shared_data"][str(page)] = "share/man/man1/mrc2movie.1"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was written."""
        self._directory.cleanup()
