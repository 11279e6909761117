"""Which session a command belongs to, by every rule of the table in the module."""

from __future__ import annotations

import pytest

from session_mw.cli.launch.choosing import Around, Choice, Label, Said, choose, said_by
from session_mw.cli.launch.ci import Build

OUTER = {
    "PHOENIX_SESSION_ID": "outer-1",
    "PHOENIX_SESSION_TYPE": "code-review",
    "PHOENIX_PROMPT_VERSION": "v2",
    "PHOENIX_SESSION_NAME": "auth",
}
KEPT = Label("kept-1", "debugging", "v3", "login")


NOTHING, NOWHERE = Said(), Around()


def chosen(wish: Said = NOTHING, around: Around = NOWHERE, **more: bool) -> Choice:
    return choose(wish, around, lambda type_: f"{type_}-made", **more)


def environment(**changes: str | None) -> Around:
    environ = {**OUTER, **changes}
    return Around(said_by({name: text for name, text in environ.items() if text is not None}))


def test_defaults() -> None:
    """Where nobody says anything it is general, v1, without a name."""
    assert Choice(Label("general-made", "general", "v1", None), "new") == chosen()


def test_options_win() -> None:
    """Options before PHOENIX variables before settings."""
    around = Around(Said(None, "by-variable", "v-variable", None), None, Said(None, "s", "s", "by-settings"))
    label = chosen(Said(type="by-option"), around).label

    assert Label("by-option-made", "by-option", "v-variable", "by-settings") == label


def test_session_around_is_joined() -> None:
    """Inside a session, without options or with its very own, a command belongs to it."""
    expected = Choice(Label("outer-1", "code-review", "v2", "auth"), "environment")

    assert expected == chosen(Said(), environment())
    assert expected == chosen(Said(type="code-review", version="v2"), environment())
    assert expected == chosen(Said(id="outer-1"), environment())


@pytest.mark.parametrize(
    "wish", [Said(type="testing"), Said(version="v3"), Said(name="other"), Said(id="mine")], ids=lambda wish: str(wish)
)
def test_other_session_inside_of_one_is_linked(wish: Said) -> None:
    """Asked for another, a new one begins, which continues the one around, and takes nothing of it."""
    choice = chosen(wish, environment())

    assert ("new", "outer-1", True) == (choice.how, choice.previous_id, choice.nested)
    assert wish == Said(wish.id and choice.label.id, wish.type, wish.version, wish.name)
    assert (wish.type or "general", wish.version or "v1", wish.name) == (
        choice.label.type,
        choice.label.version,
        choice.label.name,
    )


def test_what_the_session_around_does_not_say_can_be_added() -> None:
    """PHOENIX_SESSION_ID alone: options complete it."""
    around = environment(PHOENIX_SESSION_TYPE=None, PHOENIX_PROMPT_VERSION=None, PHOENIX_SESSION_NAME=None)

    assert Choice(Label("outer-1", "testing", "v1"), "environment") == chosen(Said(type="testing"), around)


def test_new_joins_nothing() -> None:
    """--new begins one whatever is around."""
    choice = chosen(Said(), Around(environment().environment, KEPT), new=True)

    assert ("new", "outer-1") == (choice.how, choice.previous_id)


def test_variables_without_an_id_are_wishes() -> None:
    """The seed's manual way may set a type and no id: a session of that type begins."""
    choice = chosen(Said(), environment(PHOENIX_SESSION_ID=None))

    assert Choice(Label("code-review-made", "code-review", "v2", "auth"), "new") == choice


@pytest.mark.parametrize("text", ["", "   ", "../x", "a b", "x" * 201, "é", "a\nb"])
def test_id_that_can_be_none_is_left_out(text: str) -> None:
    """Ids go into headers and stores, so one with other characters is nobody's."""
    assert said_by({"PHOENIX_SESSION_ID": text}).id is None


def test_kept_session_is_joined() -> None:
    """The session kept for the directory is joined, as it is."""
    assert Choice(KEPT, "directory") == chosen(Said(), Around(directory=KEPT))
    assert Choice(KEPT, "directory") == chosen(Said(type="debugging", version="v3"), Around(directory=KEPT))


def test_kept_session_is_left_for_another() -> None:
    """Other options begin another: linked where it takes the kept one's place, else on its own."""
    around = Around(directory=KEPT)

    assert (None, "new") == (chosen(Said(version="v4"), around).previous_id, chosen(Said(version="v4"), around).how)
    assert "kept-1" == chosen(Said(version="v4"), around, keep=True).previous_id
    assert not chosen(Said(version="v4"), around, keep=True).nested


def test_kept_session_is_not_joined_inside_of_another() -> None:
    """The session around is nearer than the directory's."""
    assert "outer-1" == chosen(Said(), Around(environment().environment, KEPT)).label.id


def test_build() -> None:
    """In CI a session is the build's: type, name and id; nothing is joined but what the environment names."""
    build = Build("github", "build-github-1-1-review", "Nightly", "1", None)
    expected = Choice(Label("build-github-1-1-review", "ci-pipeline", "v1", "Nightly"), "build")

    assert expected == chosen(Said(), Around(directory=KEPT, build=build))
    assert "outer-1" == chosen(Said(), Around(environment().environment, None, Said(), build)).label.id
    assert "ci-pipeline-made" == chosen(Said(), Around(build=Build("ci"))).label.id
    assert "ci-pipeline-made" == chosen(Said(), Around(build=build), new=True).label.id


def test_seed_ci_section() -> None:
    """The seed's three exports are taken as they are, in a build as well."""
    environ = {
        "PHOENIX_SESSION_TYPE": "ci-pipeline",
        "PHOENIX_SESSION_ID": "build-4711",
        "PHOENIX_PROMPT_VERSION": "v1",
    }
    choice = chosen(Said(), Around(said_by(environ), None, Said(), Build("ci", "build-9")))

    assert Choice(Label("build-4711", "ci-pipeline", "v1"), "environment") == choice
