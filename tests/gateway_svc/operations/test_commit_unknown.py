"""The connection breaks while an operator's word is committed: it is done once, or not at all.

| breaks                     | database comes back | so                                         |
|----------------------------|---------------------|--------------------------------------------|
| as a proposal is committed | at once             | one proposal, and its author is told so    |
| as an approval is          | at once             | the money moved once, and they are told so |
| as an approval is          | later               | 503; said again, the same answer           |
| before its events are kept | later               | nothing half done; said again, all of it   |
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from chassis.database import Database, DatabaseUnavailable
from payments.gateway.v1 import operations_service_pb2 as pb
from tests.drill.tcp_proxy import TcpProxy
from tests.gateway_svc.operations.stage import Stage
from tests.support.khqr_ledger import ScriptedBank, paid
from tests.support.ledger import notice_for


class _Link:
    """A link to PostgreSQL that breaks once at a point: what is sent then arrives, no answer."""

    def __init__(self, proxy: TcpProxy) -> None:
        self.proxy = proxy
        self.point = ""
        self.stays_away = False
        self.broken = 0

    def __call__(self, point: str) -> None:
        if point == self.point and not self.broken:
            self.broken += 1
            self.proxy.weather.cut_after_bytes = 0
            if self.stays_away:
                asyncio.get_running_loop().call_later(0.005, self.proxy.swallow)


@pytest.fixture
async def link(postgres_url: str) -> AsyncIterator[_Link]:
    database = Database(url=postgres_url)
    await database.close()
    port = make_url(postgres_url).port
    assert port is not None
    proxy = TcpProxy(name="postgres", target_port=port)
    await proxy.start()
    yield _Link(proxy)
    await proxy.stop()


@pytest.fixture
async def stage(link: _Link, postgres_url: str) -> AsyncIterator[Stage]:
    url = make_url(postgres_url).set(port=link.proxy.port)
    database = Database(url=url.render_as_string(hide_password=False), reached=link)
    opened = Stage(database=database, bank=ScriptedBank(paid()))
    opened.start()
    bill = await opened.bill()
    await opened.confirmed(notice_for(bill, bill_id=999_999))
    yield opened
    await opened.stop()
    await database.close()


async def test_a_proposal_that_was_committed_unheard_is_found(link: _Link, stage: Stage) -> None:
    link.point = "propose.before_commit"
    proposal = await stage.propose("notice-1", "VOID")
    assert (link.broken, proposal.proposal_id) == (1, 1)
    assert await stage.counts("proposals") == (1,)


async def test_an_approval_that_was_committed_unheard_is_found(link: _Link, stage: Stage) -> None:
    proposal = await stage.propose("notice-1", "APPLY", bill_id=150001)
    link.point = "decide.before_commit"
    ended = await stage.decide(proposal.proposal_id)
    assert (link.broken, ended.state) == (1, pb.EXCEPTION_STATE_RESOLVED)
    assert await stage.counts("payments", "applications", "outbox") == (1, 1, 2)


async def test_with_the_database_away_they_hear_so_and_say_it_again(
    link: _Link, stage: Stage
) -> None:
    proposal = await stage.propose("notice-1", "APPLY", bill_id=150001)
    link.point, link.stays_away = "decide.before_commit", True
    with pytest.raises(DatabaseUnavailable):
        await stage.decide(proposal.proposal_id)
    link.proxy.clear()
    ended = await stage.decide(proposal.proposal_id)
    assert ended.state == pb.EXCEPTION_STATE_RESOLVED
    assert await stage.counts("payments", "applications", "outbox") == (1, 1, 2)


async def test_an_approval_that_dies_half_way_leaves_nothing_and_is_said_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(**_named: Any) -> None:
        raise DatabaseUnavailable("the database went away")

    proposal = await stage.propose("notice-1", "APPLY", bill_id=150001)
    with monkeypatch.context() as broken:
        broken.setattr("gateway_svc.operations.resolving.append", dies)
        with pytest.raises(DatabaseUnavailable):
            await stage.decide(proposal.proposal_id)
    assert await stage.counts("payments", "applications", "outbox") == (0, 0, 0)
    assert await stage.rows("SELECT state FROM proposals") == [("PROPOSED",)]
    assert await stage.rows("SELECT state FROM bills") == [("OPEN",)]
    ended = await stage.decide(proposal.proposal_id)
    assert ended.state == pb.EXCEPTION_STATE_RESOLVED
    assert await stage.counts("payments", "applications", "outbox") == (1, 1, 2)
