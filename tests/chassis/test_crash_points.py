import os
import signal
from pathlib import Path

import pytest

from chassis.crash_points import CrashPoints, no_crash
from chassis.database import Database

_WISHES = {"": signal.SIGKILL, "kill": signal.SIGKILL, "freeze\n": signal.SIGSTOP}


class _Sent:
    def __init__(self) -> None:
        self.signals: list[tuple[int, int]] = []

    def __call__(self, process: int, number: int) -> None:
        self.signals.append((process, number))


@pytest.mark.parametrize(("wish", "number"), _WISHES.items())
def test_an_armed_point_takes_the_process_once(tmp_path: Path, wish: str, number: int) -> None:
    sent = _Sent()
    points = CrashPoints(folder=tmp_path, send_signal=sent)
    (tmp_path / "confirm.before_commit").write_text(wish)
    points("confirm.after_commit")
    points("confirm.before_commit")
    points("confirm.before_commit")
    assert sent.signals == [(os.getpid(), number)]
    assert list(tmp_path.iterdir()) == []


def test_where_no_folder_is_there_nothing_happens(tmp_path: Path) -> None:
    sent = _Sent()
    CrashPoints(folder=tmp_path / "none", send_signal=sent)("confirm.before_commit")
    no_crash("confirm.before_commit")
    assert sent.signals == []


async def test_a_transaction_reports_before_and_after_its_commit(empty_database_url: str) -> None:
    reached: list[str] = []
    database = Database(url=empty_database_url, reached=reached.append)
    async with database.transaction(name="confirm"):
        assert reached == []
    assert reached == ["confirm.before_commit", "confirm.after_commit"]
    await database.close()


async def test_work_that_failed_reports_nothing(empty_database_url: str) -> None:
    reached: list[str] = []
    database = Database(url=empty_database_url, reached=reached.append)
    with pytest.raises(ZeroDivisionError):
        async with database.transaction(name="confirm"):
            raise ZeroDivisionError
    assert reached == []
    await database.close()
