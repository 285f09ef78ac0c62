"""Settings from the environment, and the folder that each platform keeps such data in."""

from pathlib import Path

import pytest

from explorer.config.settings import SettingError, Settings, default_home

NAME = "overfitting-explorer"


@pytest.mark.parametrize("platform, environ, home", [
    ("linux", {"HOME": "/home/ada"}, f"/home/ada/.local/share/{NAME}"),
    ("linux", {"HOME": "/home/ada", "XDG_DATA_HOME": "/data"}, f"/data/{NAME}"),
    ("linux", {"HOME": "/home/ada", "XDG_DATA_HOME": "relative/is/ignored"}, f"/home/ada/.local/share/{NAME}"),
    ("freebsd14", {"HOME": "/home/ada"}, f"/home/ada/.local/share/{NAME}"),
    ("darwin", {"HOME": "/Users/ada", "XDG_DATA_HOME": "/data"}, f"/Users/ada/Library/Application Support/{NAME}"),
    ("win32", {"USERPROFILE": "/Users/ada", "LOCALAPPDATA": "/Users/ada/Local"}, f"/Users/ada/Local/{NAME}"),
    ("win32", {"USERPROFILE": "/Users/ada"}, f"/Users/ada/AppData/Local/{NAME}"),
])
def test_home_is_where_the_platform_keeps_such_data(platform, environ, home):
    assert default_home(environ, platform) == Path(home)


def test_home_is_found_without_any_variable():
    assert default_home({}, "linux") == Path.home() / ".local" / "share" / NAME


def test_defaults_hold_where_nothing_is_set():
    settings = Settings.from_environment({"HOME": "/home/ada", "EXPLORER_MAX_EPOCHS": "  "})
    assert (settings.max_epochs, settings.max_parameters, settings.device) == (500, 20_000_000, "any")
    assert settings.data_dir is None and settings.home == default_home({"HOME": "/home/ada"})
    assert settings.threads >= 1 and 1 <= settings.runs_at_once <= 2


@pytest.mark.parametrize("field, value", [
    ("max_parameters", 5_000), ("max_epochs", 7), ("max_samples", 500), ("max_words", 200), ("max_seconds", 9),
    ("max_queue", 3), ("max_queued_per_person", 5), ("max_running_per_person", 2),
    ("runs_at_once", 4), ("threads", 1), ("checkpoint_mb", 12),
])
def test_each_number_can_be_set(field, value):
    assert getattr(Settings.from_environment({f"EXPLORER_{field.upper()}": f" {value} "}), field) == value


def test_folders_can_be_set_and_everything_lies_in_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment({"EXPLORER_HOME": "here", "EXPLORER_DATA_DIR": "~/data"})
    assert settings.home == tmp_path / "here" and settings.data_dir == Path.home() / "data"
    assert {settings.store_path.parent, settings.checkpoints.parent, settings.cache.parent} == {settings.home}


def test_graphics_cards_can_be_left_alone():
    assert Settings.from_environment({"EXPLORER_DEVICE": "cpu"}).device == "cpu"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e3", "many", "٣", "²", "1_000", "1 000", "nan", "true"])
def test_a_number_that_is_none_is_refused_by_its_name(text):
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({"EXPLORER_MAX_EPOCHS": text})
    assert str(caught.value) == f"EXPLORER_MAX_EPOCHS: expected a whole number of 1 or more, received {text!r}."


def test_the_class_wall_can_be_taken_off_the_page():
    assert Settings.from_environment({}).class_wall
    assert Settings.from_environment({"EXPLORER_CLASS_WALL": " on "}).class_wall
    off = Settings.from_environment({"EXPLORER_CLASS_WALL": "off"})
    assert not off.class_wall and Settings.from_dict(off.as_dict()) == off
    with pytest.raises(SettingError, match="EXPLORER_CLASS_WALL: expected on or off, received 'no'"):
        Settings.from_environment({"EXPLORER_CLASS_WALL": "no"})


def test_an_unknown_device_is_refused_by_its_name():
    with pytest.raises(SettingError, match="EXPLORER_DEVICE: expected any or cpu, received 'gpu'"):
        Settings.from_environment({"EXPLORER_DEVICE": "gpu"})


def test_a_memory_limit_in_which_nothing_trains_is_refused():
    with pytest.raises(SettingError, match="EXPLORER_MAX_MEMORY_MB: expected 0 for no limit, or .* 500 or more.*'100'"):
        Settings.from_environment({"EXPLORER_MAX_MEMORY_MB": "100"})
    assert Settings.from_environment({"EXPLORER_MAX_MEMORY_MB": "0"}).max_memory_mb == 0
