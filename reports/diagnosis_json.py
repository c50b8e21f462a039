"""`diagnosis.json`: the machine-readable diagnosis, schema 1."""

from __future__ import annotations

import json
from typing import Any, Final

from reports.summary import plain
from search.causes import Cause
from search.diagnosis.evidence import Diagnosis

SCHEMA: Final = 1


def diagnosis_json(diagnosis: Diagnosis) -> str:
    """Return the diagnosis as strict JSON; numbers that are not finite are null."""
    content = {
        "schema": SCHEMA,
        "healthy": diagnosis.healthy,
        "verdict": str(diagnosis.state),
        "causes": [_cause(cause) for cause in diagnosis.causes],
        "mends": [
            {
                "code": fix.code,
                "change": fix.change,
                "before": fix.before,
                "after": fix.after,
                "seeds": fix.seeds,
                "confirmed": fix.confirmed,
            }
            for fix in diagnosis.fixes
        ],
        "seconds": round(diagnosis.seconds, 1),
        "remarks": [_cause(cause) for cause in diagnosis.remarks],
        "cut_short": diagnosis.cut_short,
    }
    return json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "code": cause.code,
        "score": cause.score,
        "layer": cause.layer,
        "evidence": cause.evidence,
        "confirmed": cause.confirmed,
    }
