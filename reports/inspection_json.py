"""`check.json`: the machine-readable inspection, schema 1."""

from __future__ import annotations

import json
from typing import Any, Final

from reports.summary import plain
from search.inspection.findings import Inspection

SCHEMA: Final = 1


def inspection_json(inspection: Inspection) -> str:
    """Return the inspection as strict JSON; numbers that are not finite are null."""
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "findings": [
            {
                "kind": finding.kind,
                "severity": str(finding.severity),
                "files": list(finding.files),
                "detail": finding.detail,
                "sets": [list(some) for some in finding.sets],
            }
            for finding in inspection.findings
        ],
        "data": {
            "folder": inspection.folder,
            "test": inspection.test,
            "classes": dict(inspection.classes),
            "images": inspection.images,
            "units": inspection.units,
            "sizes": dict(inspection.sizes),
            "aspects": list(inspection.aspects),
            "modes": dict(inspection.modes),
            "bits": {str(bits): count for bits, count in inspection.bits.items()},
            "formats": dict(inspection.formats),
        },
        "folds": inspection.folds,
        "chance": inspection.chance,
        "baselines": dict(inspection.baselines),
        "half_width": inspection.half,
        "seconds": round(inspection.seconds, 2),
    }
    return json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
