"""What a pickle would do, found out before anything is unpickled: a walk over its opcodes.

``torch.load(weights_only=True)`` runs nothing that is not on its list, but the list is long, and some of it makes
much of little (``bytearray`` of a number, ``_codecs.encode`` to hexadecimal, again and again). The published files
need nine names. A pickle that names anything else is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator

ENCODE = "_codecs.encode"
"""How bytes are written in pickles of protocol 2: as text, to be encoded as Latin 1."""

NAMES = frozenset(
    {ENCODE, "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype"}
    | {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"}
    | {f"torch.{kind}Storage" for kind in ("Float", "Double", "Half", "Long", "Int", "Short", "Char", "Byte", "Bool")}
)
"""All that the layout needs: tensors, and scalars of numpy."""

_PUT, _GET, _GLOBAL, _TEXT, _STOP = b"qr", b"hj", ord("c"), ord("X"), ord(".")

_ARGUMENT_BYTES = {ord(code): 0 for code in "()]}tNRQaesub."} | dict.fromkeys(b"\x85\x86\x87\x88\x89", 0)
_ARGUMENT_BYTES |= {0x80: 1, ord("K"): 1, ord("M"): 2, ord("J"): 4, ord("G"): 8}
_ARGUMENT_BYTES |= {ord("q"): 1, ord("h"): 1, ord("r"): 4, ord("j"): 4}
"""Opcodes that ``torch.save`` writes, and the bytes that follow them; those of other lengths are handled apart."""

_LONG = 0x8A
_PAIR, _CALL = 0x86, ord("R")

Token = tuple[int, str | None]
"""An opcode and the name or text that it pushes."""


class RefusedPickle(ValueError):
    """A pickle that would do more than make tensors and plain values; ``name`` is what it calls for, if anything."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


def check_pickle(data: bytes) -> None:
    """Walk over a pickle that ``torch.save`` wrote, and refuse what the published files do not need.

    Raises:
        RefusedPickle: If it names anything but :data:`NAMES`, encodes anything but Latin 1, or is damaged.
    """
    expected: list[Token] = []
    for token in _tokens(data):
        if expected:
            code, text = expected.pop()
            if token[0] != code or (code == _TEXT and (token[1] is None or text not in (None, token[1]))):
                raise RefusedPickle(f"calls {ENCODE} for more than bytes", ENCODE)
        elif token == (_GLOBAL, ENCODE):
            expected = [(_CALL, None), (_PAIR, None), (_TEXT, "latin1"), (_TEXT, None)]


def _tokens(data: bytes) -> Iterator[Token]:
    """Return the opcodes in order; what is fetched from the memo counts as pushed anew, what is put there does not."""
    memo: dict[int, Token] = {}
    last: Token = (0, None)
    at, size = 0, len(data)
    try:
        while True:
            code = data[at]
            at += 1
            if (length := _ARGUMENT_BYTES.get(code)) is not None:
                if at + length > size:
                    raise IndexError
                if code in _PUT:
                    known = last if last[0] in (_TEXT, _GLOBAL) else (0, None)
                    memo[int.from_bytes(data[at : at + length], "little")] = known
                elif code in _GET:
                    last = memo[int.from_bytes(data[at : at + length], "little")]
                    yield last
                else:
                    last = (code, None)
                    yield last
                at += length
                if code == _STOP:
                    return
                continue
            if code == _LONG:
                at += 1 + data[at]
                last = (code, None)
            elif code == _TEXT:
                length = int.from_bytes(data[at : at + 4], "little")
                at += 4 + length
                if at > size:
                    raise IndexError
                last = (code, data[at - length : at].decode("utf-8", "surrogatepass"))
            elif code == _GLOBAL:
                end = data.index(b"\n", data.index(b"\n", at) + 1)
                name = data[at:end].decode().replace("\n", ".")
                at = end + 1
                if name not in NAMES:
                    raise RefusedPickle(f"calls for {name:.80}, which has no place in it", name)
                last = (code, name)
            else:
                raise RefusedPickle(f"has the opcode {code:#04x}, which torch.save does not write")
            yield last
    except RefusedPickle:
        raise
    except (IndexError, KeyError, ValueError) as error:
        raise RefusedPickle("ends too early, or is damaged") from error
