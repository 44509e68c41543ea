"""A QR picture -> the text inside, and back.

The picture comes from outside: its bytes, pixels and formats are bounded before it is decoded
(a file of a few KiB can unfold to gigabytes).
"""

import io

import zxingcpp
from PIL import Image, UnidentifiedImageError

_MOST_BYTES = 256 * 1024
_MOST_PIXELS = 4_000_000  # 2000 x 2000; a phone shows less
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
_SCALE = 8  # pixels per module: about 500 across, sharp on a phone
_WHITE = (255, 255, 255, 255)


class ImageUnreadable(Exception):
    """The bytes are no picture of exactly one QR code; the text says why."""


def read_code(image: bytes) -> str:
    """Return the text of the one QR code in `image`; takes some milliseconds of CPU.

    :raises ImageUnreadable: too large, no picture, or not exactly one QR code.
    """
    if len(image) > _MOST_BYTES:
        raise ImageUnreadable(f"has more than {_MOST_BYTES} bytes")
    found = zxingcpp.read_barcodes(
        _picture(image),
        formats=zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode]),
        text_mode=zxingcpp.TextMode.Plain,
    )
    if len(found) != 1:
        # With two codes in sight the customer's wallet would choose.
        raise ImageUnreadable(f"holds {len(found)} QR codes, not one")
    return str(found[0].text)


def draw_code(payload: str) -> bytes:
    """Return a PNG of a QR code that says `payload`.

    :raises ImageUnreadable: it is too long for a QR code.
    """
    try:
        barcode = zxingcpp.create_barcode(payload, zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    except (ValueError, RuntimeError):  # RuntimeError: the text is no Unicode
        raise ImageUnreadable("the text does not fit a QR code") from None
    written = io.BytesIO()
    Image.fromarray(barcode.to_image(scale=_SCALE)).save(written, format="PNG", optimize=True)
    return written.getvalue()


def _picture(image: bytes) -> Image.Image:
    """Return the decoded picture, in greys on white."""
    try:
        with Image.open(io.BytesIO(image), formats=_FORMATS) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                raise ImageUnreadable(f"has more than {_MOST_PIXELS} pixels")
            if getattr(opened, "n_frames", 1) != 1:
                raise ImageUnreadable("moves")
            colours = opened.convert("RGBA")  # decodes; a see-through ground is seen on white
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageUnreadable(f"has more than {_MOST_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise ImageUnreadable(f"is none of {', '.join(_FORMATS)}") from None
    except (OSError, ValueError, SyntaxError, EOFError) as problem:
        raise ImageUnreadable(f"cannot be decoded ({type(problem).__name__})") from None
    ground = Image.new("RGBA", colours.size, _WHITE)
    return Image.alpha_composite(ground, colours).convert("L")
