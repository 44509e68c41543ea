"""Lets grpcio-testing, which knows synchronous servicers only, drive an async one.

Without it grpcio-testing takes the coroutine object for the response and reports OK.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


class SynchronousServicer:
    """Runs each coroutine of an async servicer to its end."""

    def __init__(self, servicer: Any) -> None:
        self._servicer = servicer

    def __getattr__(self, name: str) -> Callable[[Any, Any], Any]:
        """Return the method `name`, made synchronous."""
        method = getattr(self._servicer, name)

        def call(request: Any, context: Any) -> Any:
            answer = method(request, context)
            return asyncio.run(answer) if inspect.iscoroutine(answer) else answer

        return call
