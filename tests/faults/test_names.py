"""Names of any bytes: harmless in paths, logs, tables, YAML and pages."""

from __future__ import annotations

import csv
import logging
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import yaml
from rich.console import Console

from commands.terminal import log_to
from reports.live_lines import EventLog
from reports.write import write_all
from search.records import FitOutcome
from search.schedule.budget import Clock
from search.session import planning, session
from search.training.job import FitJob
from search.workers.protocol import TrainingData
from tests.factories import make_images
from tests.small_searches import small_request
from tests.stand_ins import FakePool, outcome

pytestmark = [pytest.mark.study, pytest.mark.slow, pytest.mark.usefixtures("known_migrations")]

CLASSES: Final = (
    b"<script>alert(1)</script>".replace(b"/", b"\xe2\x81\x84"),
    b"=cmd|' -C calc'!A0",
    b"two\nlines\r",
    "\u202egnp.txet".encode(),
    b"\xff\xfe not utf-8",
    b"x" * 255,
    b"{{ 7 * 7 }} %s {0} $HOME `id`",
    b"'; DROP TABLE fits; --",
    '\u2028\u2029\x1b[31m\x07 &amp; "quoted"'.encode(),
    b"up..\\..\\etc",
)
FILES: Final = (
    b"<img src=x onerror=alert(1)>.png",
    b"@SUM(A1)\t.png",
    b"\xc3\x28.png",
    b"-rf.png",
    b"y" * 251 + b".png",
)


class Tags(HTMLParser):
    """What a browser would take for elements, and for their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


class Able(FakePool):
    """Its networks are mostly right."""

    def __init__(self) -> None:
        super().__init__(self._right)

    def set_data(self, data: TrainingData) -> None:
        self.labels = data.labels

    def _right(self, job: FitJob) -> FitOutcome:
        rng = np.random.default_rng(job.seed)
        labels = self.labels[job.val]
        said = np.where(rng.random(len(labels)) < 0.8, labels, rng.integers(0, job.protocol.classes, len(labels)))
        probabilities = np.full((len(labels), job.protocol.classes), 0.02)
        probabilities[np.arange(len(labels)), said] = 1.0
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return outcome(job, score=0.8, skill=0.6, loss=0.5, probabilities=probabilities.astype(np.float32))


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run folder of a whole search over such images, with everything that is written."""
    monkeypatch.setattr(planning, "baselines", lambda *given: {"constant": 1 / len(CLASSES)})
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    # What pytest captures of a log is sent between its processes as UTF-8, which these names are not.
    monkeypatch.setattr(logging.getLogger("search"), "propagate", False)
    make_images(tmp_path / "plain", 12, [str(number) for number in range(len(CLASSES))])
    images = tmp_path / "images"
    images.mkdir()
    for number, name in enumerate(CLASSES):
        folder = (tmp_path / "plain" / str(number)).rename(images / os.fsdecode(name))
        for file, new in zip(sorted(folder.iterdir()), FILES, strict=False):
            file.rename(folder / os.fsdecode(new))
        (folder / "<b>broken<b>\n.png").write_bytes(b"no image")
    request = small_request(images, tmp_path / "run", trials=6)

    def pool(*given: Any) -> Any:
        return Able()

    (tmp_path / "run").mkdir()
    with log_to(tmp_path / "run", Console(quiet=True), quiet=True):
        found = session.search(request, EventLog(), Clock(), pool)
        write_all(found.results, tmp_path / "run")
    assert found.results.recommended is not None
    return tmp_path / "run"


def test_names_of_any_bytes_do_no_harm(out: Path) -> None:
    page = (out / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    sources = [attributes.get("src") or "" for tag, attributes in tags.found if tag == "img"]
    assert all(source.startswith("data:image/") for source in sources)
    assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on")]
    assert "alert(1)" not in "".join(_scripts(page))
    for table in out.glob("*.csv"):
        with table.open(newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert cells
        assert not [cell for cell in cells if cell[:1] in ("=", "@", "\t", "\r") or cell[:2] == "+c"], table
    written = yaml.safe_load((out / "best_config.yaml").read_text(encoding="utf-8"))
    assert len(written["classes"]) == len(CLASSES)
    for line in (out / "run.log").read_text(encoding="utf-8").splitlines():
        assert line[:2] == "20", f"a name forged a line: {line!r}"
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown
    assert "\x1b" not in markdown


def _scripts(page: str) -> list[str]:
    return [part.partition("</script>")[0] for part in page.split("<script")[1:]]
