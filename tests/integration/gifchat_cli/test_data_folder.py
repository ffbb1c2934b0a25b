import stat
import tempfile
from pathlib import Path

import pytest

from gifchat_cli.data_folder import DataFolder
from gifchat_cli.prerequisites import PrerequisiteError


def test_secrets_are_created_once_and_only_the_user_can_read_them(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.create()
    state = folder.load_state()
    state.ports["web"] = 4711
    folder.save_state(state)
    assert folder.load_state() == state
    assert len(state.session_secrets) >= 32
    assert state.internal_token != state.session_secrets
    assert stat.S_IMODE((tmp_path / "data" / "state.json").stat().st_mode) == 0o600


def test_the_error_for_a_damaged_state_has_a_remedy(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(PrerequisiteError, match=r"state\.json is damaged .* remove it"):
        folder.load_state()


def test_only_one_cluster_can_hold_the_folder(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.create()
    assert not folder.is_locked()
    folder.lock()
    with pytest.raises(PrerequisiteError, match="already running"):
        DataFolder(tmp_path).lock()
    assert folder.is_locked()


def test_the_error_for_an_unwritable_folder_has_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PrerequisiteError, match="choose another one with --data"):
        DataFolder(tmp_path / "file" / "data").create()


def test_the_socket_of_a_deep_folder_is_in_the_temporary_folder(tmp_path: Path) -> None:
    assert DataFolder(Path("/srv/data")).socket_path() == Path("/srv/data/control.sock")
    deep = DataFolder(tmp_path / ("x" * 120)).socket_path()
    assert deep.is_relative_to(tempfile.gettempdir())
    assert len(str(deep)) < 100
    assert deep != DataFolder(tmp_path / ("y" * 120)).socket_path()
