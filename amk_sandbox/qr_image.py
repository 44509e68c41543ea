"""QR codes as pictures: drawn by the bank, read by the customer's phone."""

import io

import zxingcpp
from PIL import Image, UnidentifiedImageError

_PIXELS_PER_MODULE = 6
_QR_CODES = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode])
_MOST_PIXELS = 4_000_000  # a screen; a larger picture is not unpacked


def draw_png(*, text: str) -> bytes:
    """Return a PNG of the QR code of `text`, with its quiet zone."""
    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    drawn = code.to_image(scale=_PIXELS_PER_MODULE)
    height, width = drawn.shape
    pixels = memoryview(drawn).tobytes()  # type: ignore[arg-type] # a buffer (PEP 688); its stubs do not say so
    written = io.BytesIO()
    Image.frombytes("L", (width, height), pixels).save(written, "PNG", optimize=True)
    return written.getvalue()


def read_png(*, image: bytes) -> str | None:
    """Return the text of the QR code in a PNG, or None where a phone sees none."""
    try:
        with Image.open(io.BytesIO(image), formats=("PNG",)) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                return None
            found = zxingcpp.read_barcode(picture.convert("L"), formats=_QR_CODES)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return None
    return found.text if found is not None else None
