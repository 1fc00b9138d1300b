"""A package index in a folder: wheels made here, found by pip's own client without network."""

import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from distill.config.data import Source


@dataclass(frozen=True)
class LocalIndex:
    folder: Path

    def add(self, name: str, files: Mapping[str | zipfile.ZipInfo, bytes]) -> Source:
        """Puts a wheel, version 1.0, into the index and names it."""
        module = name.replace("-", "_")
        path = self.folder / f"{module}-1.0-py3-none-any.whl"
        about = {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Python: <3.0\n",
            "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
            for file, content in files.items():
                wheel.writestr(file, content)
            for file, text in about.items():
                wheel.writestr(f"{module}-1.0.dist-info/{file}", text)
        return Source(wheel=(f"{name}==1.0",), sha256=(hashlib.sha256(path.read_bytes()).hexdigest(),))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalIndex:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    return LocalIndex(folder)
