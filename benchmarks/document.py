"""Figures go into the document that tells about them, between two marks, by the program itself."""

import sys
from pathlib import Path


def write_part(*, document: Path | None, name: str, text: str) -> None:
    """Put `text` between the marks of the part `name` of `document`; print it in any case.

    :raises ValueError: the document has no such part.
    """
    print(text)
    if document is None:
        return
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    whole = document.read_text(encoding="utf-8")
    before, found_begin, rest = whole.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"{document}: has no part {name}")
    command = " ".join(["python", "-m", _module(), *sys.argv[1:]])
    document.write_text(f"{before}{begin}\n`{command}`\n\n{text}\n{end}{after}", encoding="utf-8")


def _module() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = spec.name if spec is not None else Path(sys.argv[0]).stem
    return name.removesuffix(".__main__")
