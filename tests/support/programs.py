"""The services as programs of their own: started, watched, stopped; all that they say is kept."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Program:
    """A running service, where it listens, and the file of all that it says."""

    process: asyncio.subprocess.Process
    output: Path
    address: str

    def said(self) -> str:
        """Return everything it said so far."""
        return self.output.read_text(encoding="utf-8", errors="surrogateescape")


async def spawned(
    *, module: str, environ: Mapping[str, str], output: Path
) -> asyncio.subprocess.Process:
    """Start `module` on nothing but `environ`, its output in `output`."""
    with output.open("wb") as file:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            env={"PATH": os.environ["PATH"], **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )


@asynccontextmanager
async def running(
    *, module: str, environ: Mapping[str, str], folder: Path
) -> AsyncIterator[Program]:
    """Run `module` until it listens, and stop it as an orchestrator would."""
    output = folder / f"{module}.log"
    process = await spawned(module=module, environ=environ, output=output)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_stopped, process)
        async with asyncio.timeout(30):
            while not (address := _listening(output)):
                assert process.returncode is None, output.read_text(encoding="utf-8")
                await asyncio.sleep(0.02)
        yield Program(process=process, output=output, address=address)


async def refused(
    *, module: str, environ: Mapping[str, str], folder: Path, name: str
) -> tuple[int, str]:
    """Return the exit code of a start that should fail, and all that it said."""
    output = folder / f"refused-{name}.log"
    process = await spawned(module=module, environ=environ, output=output)
    try:
        async with asyncio.timeout(30):
            code = await process.wait()
    finally:
        await _stopped(process)
    return code, output.read_text(encoding="utf-8", errors="surrogateescape")


async def _stopped(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _listening(output: Path) -> str:
    for line in output.read_text(encoding="utf-8", errors="replace").splitlines():
        if '"listening"' in line:
            return str(json.loads(line)["addresses"][0])
    return ""
