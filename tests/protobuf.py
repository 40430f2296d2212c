"""A writer of the wire format, to make small files of the formats that are read."""

from struct import pack

import torch


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    """A whole number, a float, text, or bytes (of a message, or packed values)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def floats(tensor):
    return tensor.detach().to(torch.float32).contiguous().numpy().tobytes()


def caffemodel(blobs, *, legacy):
    """`blobs`: layer → its tensors, as Caffe wrote them in 2014 (legacy) or since 2015."""
    net = field(1, "GoogleNet")
    layer_field, name_field, blob_field = (2, 4, 6) if legacy else (100, 1, 7)
    for layer, tensors in {"data": [], **blobs, "prob": []}.items():
        kind = field(5, 4) if legacy else field(2, "Convolution")
        content = field(name_field, layer) + kind
        for tensor in tensors:
            if legacy:
                shape = [1] * (4 - tensor.ndim) + [*tensor.shape]
                head = b"".join(field(n, size) for n, size in enumerate(shape, start=1))
            else:
                head = field(7, field(1, b"".join(map(varint, tensor.shape))))
            content += field(blob_field, head + field(5, floats(tensor)))
        net += field(layer_field, content)
    return net
