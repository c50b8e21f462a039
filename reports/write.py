"""Writes the output files of the run folder. Each file is replaced atomically and never incomplete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reports.atomic_write import replace_text
from reports.best_config import best_config_text
from reports.csv_tables import csv_text, fits_table, trials_table
from reports.diagnosis_json import diagnosis_json
from reports.diagnosis_page import diagnosis_page
from reports.inspection_json import inspection_json
from reports.inspection_page import inspection_page
from reports.inspection_text import inspection_lines
from reports.markdown import markdown
from reports.page import page
from reports.summary import summary_text
from search.diagnosis.evidence import Diagnosis
from search.inspection.findings import Inspection
from search.selection.results import Results


def write_all(results: Results, out: Path) -> list[Path]:
    """Write tables, configuration, reports and summary into `out`; return the paths in this order.

    Machine-readable files come first, so that they exist even if a report fails. `summary.json` comes last: once it is
    there, all files are. Without a recommendation an earlier `best_config.yaml` is renamed to `best_config.stale.yaml`.
    """
    out.mkdir(parents=True, exist_ok=True)
    texts: dict[str, Callable[[], str]] = {
        "fits.csv": lambda: csv_text(fits_table(results)),
        "trials.csv": lambda: csv_text(trials_table(results)),
    }
    recommended = results.recommended
    if recommended is None:
        _set_aside(out / "best_config.yaml")
    else:
        texts["best_config.yaml"] = lambda: best_config_text(results, recommended)
    texts["report.md"] = lambda: markdown(results)
    texts["report.html"] = lambda: page(results)
    texts["summary.json"] = lambda: summary_text(results)
    return [replace_text(out / name, text()) for name, text in texts.items()]


def write_diagnosis(diagnosis: Diagnosis, out: Path) -> Path:
    """Write `diagnosis.json` and `diagnosis.html` into `out`; return the path of the page."""
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / "diagnosis.json", diagnosis_json(diagnosis))
    return replace_text(out / "diagnosis.html", diagnosis_page(diagnosis))


def write_inspection(inspection: Inspection, out: Path) -> Path:
    """Write `check.json`, `check.txt` and `check.html` into `out`; return the path of the page."""
    out.mkdir(parents=True, exist_ok=True)
    page = out / "check.html"
    replace_text(out / "check.txt", "\n".join(inspection_lines(inspection, page)) + "\n")
    replace_text(out / "check.json", inspection_json(inspection))
    return replace_text(page, inspection_page(inspection))


def _set_aside(path: Path) -> None:
    if not path.exists():
        return
    stale = path.with_name("best_config.stale.yaml")
    place = 2
    while stale.exists():
        stale = path.with_name(f"best_config.stale-{place}.yaml")
        place += 1
    path.rename(stale)
