from __future__ import annotations

from dataclasses import replace

from reports.closing_lines import closing_lines
from tests.reports import made
from tests.reports import made_robust as robust

FULL = robust.everything(20)


def test_the_end_on_the_terminal_says_what_to_expect_whether_it_holds_and_what_to_do() -> None:
    assert FULL.recommended is not None
    promise = FULL.recommended.promise
    text = "\n".join(closing_lines(FULL))
    assert f"Expected balanced accuracy on new images: {promise.value:.3f}, 95 % interval {promise.low:.3f} to" in text
    assert f"optimistic mean of the search: {FULL.recommended.ranked.pooled:.3f}" in text
    assert "Trained again on fresh splits: 0 of 25 retrainings collapsed" in text
    assert "python run_search.py train --config runs/images/best_config.yaml --data images --model model.keras" in text
    assert "python run_search.py predict --model model.keras --data NEW --csv out.csv" in text


def test_inconclusive_is_said_with_the_number_of_images() -> None:
    assert FULL.recommended is not None
    promise = replace(FULL.recommended.promise, inconclusive=True, images_needed=900)
    text = "\n".join(closing_lines(replace(FULL, recommended=replace(FULL.recommended, promise=promise))))
    assert "Inconclusive" in text
    assert "About 900 images in all would probably settle it; there are 120." in text


def test_without_a_recommendation_there_is_no_command_to_train() -> None:
    lines = closing_lines(made.results([made.trial(0, [], "dead-layer")], reason="no healthy configuration"))
    assert lines[0].startswith("No recommendation: no healthy configuration (1 trials, 1 fits; dead-layer 1).")
    assert not any("train --config" in line for line in lines)
