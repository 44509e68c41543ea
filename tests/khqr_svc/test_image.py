"""A picture from outside: what is read, and what is not even decoded.

| picture                                                   | read                |
|-----------------------------------------------------------|---------------------|
| PNG, JPEG, GIF, BMP, WEBP; turned; see-through; in colour | yes                 |
| another format; cut; a bomb; moving; other bar codes      | ImageUnreadable     |
"""

import io
import struct
import zlib

import pytest
import zxingcpp
from PIL import Image

from khqr_svc.image import ImageUnreadable, draw_code, read_code
from tests.khqr_svc.codes import STATIC, written
from tests.khqr_svc.fakes import code_text, picture

TEXT = code_text()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    written_to = io.BytesIO()
    image.save(written_to, format=kind, **options)
    return written_to.getvalue()


def drawn() -> Image.Image:
    return Image.open(io.BytesIO(picture(TEXT))).convert("L")


def see_through() -> Image.Image:
    dark = drawn().point(lambda light: 255 - light)
    image = Image.new("RGBA", dark.size, (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, *dark.size), dark)
    return image


def chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of some KiB that unfolds to `width` x `height` pixels."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * ((width // 8 + 1) * min(height, 2000)))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def bar_code() -> bytes:
    barcode = zxingcpp.create_barcode("150001", zxingcpp.BarcodeFormat.Code128)
    return saved(Image.fromarray(barcode.to_image(scale=3)), "PNG")


@pytest.mark.parametrize(
    "image",
    [
        *(saved(drawn(), kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP")),
        saved(drawn().rotate(90), "PNG"),
        saved(drawn().resize((1500, 1500)), "PNG"),
        saved(see_through(), "PNG"),
        saved(drawn().convert("1"), "PNG"),
        saved(drawn().convert("P"), "PNG"),
        saved(drawn().convert("I;16"), "PNG"),
        saved(drawn().convert("CMYK"), "JPEG"),
    ],
)
def test_a_picture_of_one_code_is_read(image: bytes) -> None:
    assert read_code(image) == TEXT


@pytest.mark.parametrize("text", [TEXT, written(STATIC), "x"])
def test_what_we_draw_says_what_we_meant(text: str) -> None:
    image = draw_code(text)
    assert image.startswith(b"\x89PNG")
    assert read_code(image) == text


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (b"", "is none of"),
        (b"GIF89a", "is none of"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is none of"),
        (saved(drawn(), "TIFF"), "is none of"),
        (saved(drawn(), "PDF"), "is none of"),
        (picture(TEXT)[:300], "cannot be decoded"),
        (saved(Image.new("L", (200, 200), 255), "PNG"), "holds 0 QR codes"),
        (bar_code(), "holds 0 QR codes"),
        (bomb(2001, 2000), "pixels"),
        (bomb(10_000, 10_000), "pixels"),
        (bomb(60_000, 60_000), "pixels"),
        (b"\x89PNG" + b"\0" * (256 * 1024), "bytes"),
        (
            saved(drawn(), "GIF", save_all=True, append_images=[Image.new("L", drawn().size)]),
            "moves",
        ),
    ],
)
def test_what_is_no_picture_of_one_code_is_refused(image: bytes, why: str) -> None:
    with pytest.raises(ImageUnreadable, match=why):
        read_code(image)


@pytest.mark.parametrize("text", ["0" * 9000, "\ud800", ""])
def test_what_does_not_fit_a_code_is_not_drawn(text: str) -> None:
    with pytest.raises(ImageUnreadable):
        draw_code(text)
