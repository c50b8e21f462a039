"""The card travels with the model, and is believed only as far as it makes sense."""

import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.delivery import card as cards
from search.delivery.card import Card
from search.delivery.model_files import check_target, draft
from search.errors import DamagedError, UserError
from spaces.image_format import ImageFormat
from tests.search.delivery.stand_in import write_keras, write_model

CARD = Card(
    classes=("bolt", "nut"),
    images=ImageFormat(image_size=32, channels=3),
    recipe=1,
    offset=(0.25, -0.25),
    facts={"more": [1]},
)


@given(
    names=st.lists(st.text(min_size=1), min_size=2, max_size=5, unique=True),
    side=st.integers(1, 1024),
    offset=st.floats(-50, 50),
    white=st.none() | st.floats(1e-3, 1e9),
)
def test_a_card_comes_back_as_it_was(names, side, offset, white) -> None:
    card = Card(
        classes=tuple(names),
        images=ImageFormat(image_size=side, channels=1, shapes=((side, 1), (side, side)), white=white),
        recipe=1,
        offset=(offset,) * len(names),
        facts={"a": 1},
    )
    assert Card.of(card.text(), "card") == card


def test_archive_first_then_the_file_beside(tmp_path) -> None:
    model = write_model(tmp_path / "model.keras", CARD, b"likeness")
    assert cards.read(model) == (CARD, b"likeness")
    resaved = write_keras(tmp_path / "resaved.keras")
    with pytest.raises(UserError, match=r"has no card with its classes, and there is no resaved\.json beside"):
        cards.read(resaved)
    cards.beside(resaved).write_text(CARD.text())
    assert cards.read(resaved) == (CARD, None)


def test_what_is_no_model_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"no such model: .*model\.keras\. Pass the \.keras file that train wrote"):
        cards.read(tmp_path / "model.keras")
    (tmp_path / "model.keras").write_text("not a zip")
    with pytest.raises(UserError, match="is not a Keras model"):
        cards.read(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2, expected 1. Use the version of Steadynet"),
        ({"classes": ["bolt"]}, "has invalid classes"),
        ({"classes": ["bolt", "bolt"]}, "has invalid classes"),
        ({"classes": ["bolt", 3]}, "has invalid classes"),
        ({"decision_offset": [0.0]}, "has invalid classes"),
        ({"decision_offset": [0.0, "x"]}, "has invalid classes"),
        ({"input": {"image_size": 10**6, "channels": 3, "recipe": 1}}, "has invalid classes"),
        ({"input": {"image_size": 32, "channels": 2, "recipe": 1}}, "has invalid classes"),
        (
            {"input": {"image_size": 32, "channels": 3, "recipe": 1, "white": 0}},
            "has invalid classes",
        ),
        (
            {"input": {"image_size": 32, "channels": 3, "recipe": 1, "white": "x"}},
            "has invalid classes",
        ),
        (
            {"input": {"image_size": 32, "channels": 3, "recipe": 1, "shapes": [[32, 64]]}},
            "has invalid classes",
        ),
        (
            {"input": {"image_size": 32, "channels": 3, "recipe": 1, "shapes": [[32, "8"]]}},
            "has invalid classes",
        ),
        ({"input": {"image_size": 32, "channels": 3, "recipe": 1, "shapes": [32]}}, "can't be read (TypeError"),
        ({"input": None}, "can't be read (TypeError"),
        ({"classes": None}, "can't be read (TypeError"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(change, message) -> None:
    text = json.dumps({**json.loads(CARD.text()), **change})
    with pytest.raises(DamagedError) as caught:
        Card.of(text, "the card")
    assert message in str(caught.value)
    assert str(caught.value).startswith("the card")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 1}', "[" * 100_000, b"\xff\xfe"])
def test_text_that_is_no_card_is_refused(text) -> None:
    with pytest.raises(DamagedError, match="the card can't be read"):
        Card.of(text, "the card")


def test_a_card_of_absurd_size_is_not_read(tmp_path) -> None:
    model = write_keras(tmp_path / "model.keras")
    with zipfile.ZipFile(model, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(cards.CARD, b" " * 2_000_000)
    with pytest.raises(DamagedError, match="2,000,000 bytes, expected at most 1,000,000"):
        cards.read(model)


def test_nothing_but_a_model_is_replaced(tmp_path) -> None:
    model = tmp_path / "model.keras"
    check_target(model)
    write_keras(model)
    check_target(model)
    cards.beside(model).write_text(CARD.text())
    check_target(model)
    cards.beside(model).write_text('{"my": "notes"}')
    with pytest.raises(UserError, match=r"the model's card would replace .*model\.json, which is not a card"):
        check_target(model)
    cards.beside(model).unlink()
    model.write_text("my thesis")
    with pytest.raises(UserError, match=r"exists and is not a Keras model\. Pass another name"):
        check_target(model)
    with pytest.raises(UserError, match=r"expected a name that ends in \.keras, such as model\.keras"):
        check_target(tmp_path / "model.h5")
    with pytest.raises(UserError, match=r"there is no folder .*nowhere\. Create it"):
        check_target(tmp_path / "nowhere" / "model.keras")


def test_a_draft_takes_the_place_at_once_or_not_at_all(tmp_path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old")

    def fail() -> None:
        with draft(target) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "old"
    with draft(target) as part:
        part.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]
