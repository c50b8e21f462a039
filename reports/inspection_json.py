"""`check.json`: the machine-readable inspection, schema 1."""

from __future__ import annotations

import json
from typing import Any, Final

from reports.summary import plain
from search.inspection.findings import Inspection

SCHEMA: Final = 1


def inspection_json(found: Inspection) -> str:
    """Return the inspection as strict JSON; numbers that are not finite are null."""
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "findings": [
            {
                "kind": one.kind,
                "severity": str(one.severity),
                "files": list(one.files),
                "detail": one.detail,
                "sets": [list(some) for some in one.sets],
            }
            for one in found.findings
        ],
        "data": {
            "folder": found.folder,
            "test": found.test,
            "classes": dict(found.classes),
            "images": found.images,
            "units": found.units,
            "sizes": dict(found.sizes),
            "aspects": list(found.aspects),
            "modes": dict(found.modes),
            "bits": {str(bits): count for bits, count in found.bits.items()},
            "formats": dict(found.formats),
        },
        "folds": found.folds,
        "chance": found.chance,
        "baselines": dict(found.baselines),
        "half_width": found.half,
        "seconds": round(found.seconds, 2),
    }
    return json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
