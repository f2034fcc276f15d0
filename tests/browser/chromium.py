"""A Chromium and axe-core for the tests of the page: the machine's own browser, or a pinned build fetched once.

The fetched one is the headless build of the package `@sparticuz/chromium` (MIT; Chromium itself is BSD), which needs
neither root nor a desktop's libraries. axe-core is MPL-2.0. Both lie in the cache, never in the repository.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import brotli

from cutout_build.errors import BuildError
from cutout_build.fetch_npm import npm_archive
from cutout_core.contract.paths import cache_root

_NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class _Package:
    name: str
    version: str
    sha256: str

    def unpack(self, folder: Path) -> None:
        """Puts the package's files into `folder`. Raises BuildError: not to be had, or another hash."""
        with npm_archive(self.name, self.version, _TIMEOUT_S) as archive:
            content = archive.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise BuildError(f"npm {self.name}@{self.version} has the SHA-256 {digest}, but {self.sha256} is pinned.")
        with tarfile.open(fileobj=io.BytesIO(content)) as package:
            _extract(package, folder)


_CHROMIUM = _Package(
    "@sparticuz/chromium", "147.0.0", "18fe5404ce845594cd7d592fc07f37a19514079ba4d9c27192ad8b908743f16b"
)
_AXE = _Package("axe-core", "4.14.1", "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745")

#: The fonts that come along, so that pictures do not depend on the machine's; without any, Chromium ends at once.
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts/fonts</dir><cachedir>{folder}/fonts/cache</cachedir></fontconfig>
"""


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on; the archive's hash is pinned in any case
        archive.extraction_filter = tarfile.data_filter
    archive.extractall(folder)


def find_chromium() -> tuple[Path, dict[str, str]]:
    """A Chromium's program, and what its environment needs beyond ours.

    `CUTOUT_CHROMIUM` names one; otherwise that of the machine, otherwise the cached or fetched one. Raises BuildError.
    """
    named = os.environ.get("CUTOUT_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if named:
        return Path(named), {}
    folder = cache_root() / "browser" / f"chromium-{_CHROMIUM.version}"
    if not folder.is_dir():
        _install_chromium(folder)
    libraries = os.pathsep.join([str(folder / "al2023" / "lib"), os.environ.get("LD_LIBRARY_PATH", "")])
    return folder / "chromium", {"LD_LIBRARY_PATH": libraries, "FONTCONFIG_FILE": str(folder / "fonts.conf")}


def _install_chromium(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        package, ready = Path(temporary) / "package", Path(temporary) / "ready"
        _CHROMIUM.unpack(package)
        ready.mkdir()
        for packed in (package / "package" / "bin").glob("*.br"):
            content = brotli.decompress(packed.read_bytes())
            if packed.name.endswith(".tar.br"):
                with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                    _extract(archive, ready / packed.name.removesuffix(".tar.br"))
            else:
                program = ready / packed.name.removesuffix(".br")
                program.write_bytes(content)
                program.chmod(0o755)
        (ready / "fonts.conf").write_text(_FONTS.format(folder=folder))
        _publish(ready, folder)


def axe_source() -> str:
    """The accessibility checker axe-core, as one script. Raises BuildError."""
    folder = cache_root() / "browser" / f"axe-core-{_AXE.version}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            _AXE.unpack(Path(temporary) / "ready")
            _publish(Path(temporary) / "ready", folder)
    return (folder / "package" / "axe.min.js").read_text()


def _publish(ready: Path, folder: Path) -> None:
    try:
        ready.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another test run was faster
            raise
