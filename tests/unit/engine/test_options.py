"""How the engine is run: its command and its options."""

from __future__ import annotations

import msgspec

from techstone.engine.options import VARIABLE, EngineOptions, command, name_model

_OPTIONS = EngineOptions(model="/m/some-model.gguf", port=1, alias="some-model", api_key="geheim")


def test_key_travels_in_the_environment_alone() -> None:
    """Command lines are seen by every user of a machine; the environment is not."""
    words, environment = command(_OPTIONS)
    assert "geheim" not in " ".join(words)
    assert msgspec.json.decode(environment[VARIABLE], type=EngineOptions) == _OPTIONS


def test_options_do_not_show_their_key() -> None:
    """A traceback or a log line with the options holds no secret."""
    assert "geheim" not in f"{_OPTIONS!r} {_OPTIONS}"


def test_model_is_named_after_its_file() -> None:
    """The route and the answer's header name the file without its ending."""
    assert name_model("/m/some-model.gguf") == "some-model"
