"""The way from the user's configuration at the end of a search, and asked for afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.data.weight_files import Weights
from search.errors import MismatchError, UserError
from search.events import SilentListener
from search.records import ABLATION, CONFIRM, NEIGHBOUR, Ablation, FitOutcome, StudyRecord, Verdict
from search.request import SearchRequest
from search.schedule.budget import Clock
from search.selection.results import Results
from search.session import session
from search.session.explain import explain
from search.settings import Budget
from search.stages.ablate import NO_TIME
from search.storage.database import open_storage
from search.storage.ledger import Ledger
from search.storage.load import open_study
from search.training.job import FitJob
from search.workers.protocol import TrainingData
from spaces.config import Configuration
from spaces.definitions import Fixed
from spaces.presets import TRANSFER
from tests.factories import configuration, make_images
from tests.small_searches import small_request
from tests.stand_ins import FakePool, fake_pools, outcome

MINE = configuration(
    depth=2, learning_rate=0.02, batch_size=8, dense_ratio=1.0, dropout=0.0, input_scaling="standardized"
)

pytestmark = pytest.mark.study


def well(job: FitJob) -> FitOutcome:
    """Right about two thirds of the images, but for the user's own network, which collapses."""
    if job.configuration.hash == MINE.hash:
        return outcome(job, Verdict.COLLAPSED, "dead-layer", epochs=2)
    labels = (job.val >= 12).astype(int)
    hits = np.arange(len(labels)) % 6 != job.configuration.depth
    decided = np.where(hits, labels, 1 - labels)
    return outcome(job, score=float(hits.mean()), probabilities=(0.1 + 0.8 * np.eye(2)[decided]).astype(np.float32))


def searched(
    asked: SearchRequest, clock: Clock | None = None, answer: Callable[[FitJob], FitOutcome] = well
) -> Results:
    return session.search(asked, SilentListener(), clock or Clock(), fake_pools(answer)).results


def explained(out: Path, start: Configuration, jobs: list[FitJob] | None = None, **changes: Any) -> Results:
    def pool(resources: object, must_stop: Any) -> Any:
        fake = FakePool(well, must_stop=must_stop)
        fake.one.jobs = [] if jobs is None else jobs
        return fake

    return explain(out, start, SilentListener(), Clock(), make_pool=pool, **changes)


@pytest.fixture
def asked(images: Path, tmp_path: Path, no_baselines: None) -> SearchRequest:
    return small_request(images, tmp_path / "out", trials=3, starts=[MINE])


def path_of(study: StudyRecord) -> Ablation:
    assert study.ablation is not None
    return study.ablation


def test_a_search_with_a_start_ends_with_the_way_from_it(asked: SearchRequest) -> None:
    results = searched(asked)
    assert results.recommended is not None
    found = path_of(results.study)
    assert (found.start.configuration, found.goal) == (MINE.hash, results.recommended.ranked.trial.configuration.hash)
    assert found.steps[-1].reached.configuration == found.goal
    assert found == path_of(open_study(asked.out))
    assert {fit.stage for fit in results.study.further} == {ABLATION, CONFIRM, NEIGHBOUR}
    assert [trial.number for trial in results.study.trials] == [0, 1, 2]
    (own,) = [trial for trial in results.study.trials if trial.configuration.hash == MINE.hash]
    assert [fit.fold for fit in own.fits] == [0]  # the folds that the way added are no part of the trial


def test_what_was_explained_is_not_done_again_and_a_new_goal_is_explained_anew(asked: SearchRequest) -> None:
    first = path_of(searched(asked).study)
    again = path_of(searched(asked, answer=lambda job: pytest.fail("trained again")).study)
    assert again == first
    more = searched(replace(asked, budget=Budget(trials=9, seconds=None, until_no_progress=False)))
    assert more.recommended is not None
    assert path_of(more.study).goal == more.recommended.ranked.trial.configuration.hash
    keys = [fit.key for trial in more.study.trials for fit in trial.fits if fit.stage == ABLATION]
    assert set(keys) <= {fit.key for fit in more.study.further}


def test_ctrl_c_on_the_way_keeps_all_and_the_next_start_goes_on(asked: SearchRequest) -> None:
    clock, trained = Clock(), []

    def interrupted(job: FitJob) -> FitOutcome:
        trained.append(job)
        if len([job for job in trained if job.configuration.hash == MINE.hash]) == 2:  # its trial had one fit
            clock.stop_requested.set()
        return well(job)

    stopped = path_of(searched(asked, clock, interrupted).study)
    assert (stopped.cut_short, stopped.steps, stopped.note) == (True, (), NO_TIME)
    rest: list[FitJob] = []
    whole = path_of(searched(asked, answer=lambda job: rest.append(job) or well(job)).study)
    assert (whole.cut_short, len(whole.steps) > 1) == (False, True)
    assert not {job.seed for job in trained} & {job.seed for job in rest}


def test_a_limit_of_time_sets_a_tenth_aside_at_most(asked: SearchRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = replace(asked, budget=Budget(trials=3, seconds=1000.0, until_no_progress=False))
    results = searched(timed, Clock(1000.0))
    assert results.study.plan.search_seconds == pytest.approx(600 - results.study.plan.final_seconds, abs=5)
    assert path_of(results.study).steps
    plain = searched(replace(timed, starts=(), out=asked.out.with_name("plain")), Clock(1000.0))
    assert plain.study.plan.search_seconds == pytest.approx(700 - plain.study.plan.final_seconds, abs=5)


@pytest.fixture(scope="module")
def finished(no_baselines: None, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a start, to be copied."""
    out = tmp_path_factory.mktemp("finished") / "out"
    assert searched(small_request(images, out, trials=3)).study.ablation is None
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "out")


def test_a_finished_run_is_explained_from_any_configuration(out: Path) -> None:
    assert ABLATION not in {fit.stage for fit in open_study(out).further}
    strange = configuration(initializer="orthogonal", optimizer="sgd", depth=9)  # outside the space
    found = path_of(explained(out, strange).study)
    assert found.start.configuration == strange.hash
    assert {"initializer", "optimizer", "depth"} <= set().union(*(step.changes for step in found.steps))
    assert path_of(open_study(out)) == found
    jobs: list[FitJob] = []
    assert path_of(explained(out, strange, jobs).study) == found
    assert jobs == []


def test_explain_refuses_what_can_not_be(out: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--from: batch_size must be at most 16, .* got 64"):
        explained(out, configuration(batch_size=64))
    other = make_images(tmp_path / "other", 13)
    with pytest.raises(MismatchError, match=r"made with other images than .*other holds now. Pass --data"):
        explained(out, MINE, data=other)
    with pytest.raises(UserError, match="no study in"):
        explained(other, MINE)
    assert open_study(out).ablation is None


def test_explain_works_where_the_images_are_now(out: Path, images: Path, tmp_path: Path) -> None:
    ledger = Ledger(open_storage(out, None).engine, "steadynet")
    ledger.set_fact("data", {**ledger.fact("data"), "folder": str(tmp_path / "gone")})
    with pytest.raises(UserError, match=r"the images of the run in .*out are no longer in .*gone. Pass --data"):
        explained(out, MINE)
    assert path_of(explained(out, MINE, data=images).study).steps


@pytest.mark.parametrize("form", [str, lambda value: value], ids=["all text, as older studies have it", "typed"])
def test_explain_reads_the_images_as_the_search_did(
    tmp_path: Path, no_baselines: None, form: Callable[[object], object]
) -> None:
    """Images behind a link, two of them copies that may be on both sides of a split."""
    made = make_images(tmp_path / "elsewhere", 12)
    folder = tmp_path / "images"
    for name in ("bolt", "nut"):
        (folder / name).mkdir(parents=True)
        for file in (made / name).iterdir():
            (folder / name / file.name).symlink_to(file)
        shutil.copy(made / name / "0.png", folder / name / "again.png")
    switches = {"follow_links": True, "split_copies": True}
    asked = small_request(
        folder,
        tmp_path / "out",
        trials=3,
        settings={name: form(value) for name, value in {"data": str(folder), "trials": 3, **switches}.items()},
        **switches,
    )
    assert searched(asked).study.settings == {"data": str(folder), "trials": 3, **switches}
    assert path_of(explained(asked.out, MINE).study).steps


def test_explain_reads_the_images_in_the_sizes_of_the_backbones(
    images: Path, tmp_path: Path, no_baselines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "efficientnet_lite0"
    weights = {name: Weights(None, "digest")}
    space = TRANSFER.changed({"backbone": Fixed(name)})
    results = searched(small_request(images, tmp_path / "out", trials=3, space=space, weights=weights))
    assert results.recommended is not None
    goal = results.recommended.ranked.trial.configuration
    assert goal.resolution
    monkeypatch.setattr("search.session.explain.find_weights", lambda *arguments: weights)
    start = replace(goal, resolution=96, classifier="ridge" if goal.classifier != "ridge" else "logistic")
    loaded: list[TrainingData] = []
    monkeypatch.setattr(FakePool, "set_data", lambda self, data: loaded.append(data))
    assert path_of(explained(tmp_path / "out", start).study).steps
    assert sorted(loaded[0].resized) == [96, goal.resolution]
    other = replace(goal, backbone="mobilenet", head="average")
    with pytest.raises(UserError, match=f"--from: backbone: .* no weights of mobilenet. Expected one of none, {name}"):
        explained(tmp_path / "out", other)


def test_without_a_recommendation_nothing_is_trained(asked: SearchRequest) -> None:
    def collapsing(job: FitJob) -> FitOutcome:
        return outcome(job, Verdict.COLLAPSED, "dead-layer")

    assert searched(asked, answer=collapsing).study.ablation is None
    jobs: list[FitJob] = []
    results = explained(asked.out, MINE, jobs)
    assert (results.recommended, results.study.ablation, jobs) == (None, None, [])
