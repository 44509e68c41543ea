"""Replies as aiohttp sends them, whole or in parts."""

from aiohttp import hdrs, web

from rest_bridge import surface as words
from rest_bridge.surface import Reply

PART_BYTES = 64 * 1024  # a larger answer is written in parts, the next when one is taken away


def response_of(*, reply: Reply, request_id: str) -> web.Response:
    """Return `reply` as aiohttp sends it."""
    response = web.Response(
        status=reply.status,
        body=reply.body,
        headers=words.all_headers(reply=reply, request_id=request_id),
    )
    if reply.close:
        response.force_close()
    return response


async def sent_in_parts(
    *, request: web.BaseRequest, reply: Reply, request_id: str
) -> web.StreamResponse:
    """Send a large answer so that a client that does not read it costs little memory."""
    response = web.StreamResponse(
        status=reply.status, headers=words.all_headers(reply=reply, request_id=request_id)
    )
    response.content_length = len(reply.body)
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        view = memoryview(reply.body)
        for start in range(0, len(view), PART_BYTES):
            await response.write(view[start : start + PART_BYTES])
    return response
