from __future__ import annotations

from reports.markdown import escaped, markdown
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust


def test_the_outcome_fits_two_screens() -> None:
    text = markdown(fake.results(fake.trials(60), test=True, quarantined={f"{i}.png": "bad" for i in range(50)}))
    assert len(text.partition("\n## Glossary")[0].splitlines()) < 100
    assert "## Recommended configuration" in text
    assert "and 40 more" in text


def test_a_full_report_stays_short_and_has_the_promise_beside_the_score_of_the_search() -> None:
    results = robust.everything(60)
    text = markdown(results)
    assert results.recommended is not None
    assert len(text.partition("\n## Glossary")[0].splitlines()) < 120
    assert f"{results.recommended.ranked.pooled:.3f} search score (pooled over the folds; optimistic" in text
    assert "0 of 25 fits collapsed" in text
    assert (
        "    python run_search.py train --config runs/images/best_config.yaml --data images --model model.keras" in text
    )
    for title in ("Confidence", "Collapses", "What matters", "Predictions", "Data", "Run", "Glossary"):
        assert f"## {title}\n" in text


def test_no_recommendation_gives_its_reason() -> None:
    text = markdown(fake.results([fake.trial(0, [], "dead-layer")], reason="no healthy configuration"))
    assert "## No healthy configuration" in text
    assert "`dead-layer`" in text


def test_nothing_tried_says_how_to_go_on() -> None:
    assert "same command again to continue" in markdown(fake.results())


def test_names_stay_text() -> None:
    assert escaped("a|b_*<x>\n") == "a\\|b\\_\\*\\<x\\>\\\\n"
    assert "<script>" not in markdown(fake.results(fake.trials(6), classes={"<script>": 30, "b": 30}))
