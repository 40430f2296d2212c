"""Writes a small .caffemodel in either generation of the format."""

from deeper.models.pretrained import caffe


def caffemodel(blobs, *, legacy):
    """`blobs`: layer → its tensors, as Caffe wrote them in 2014 (legacy) or since 2015."""
    network = caffe.net_parameter()()
    layers = network.layers if legacy else network.layer
    for name, tensors in {"data": [], **blobs, "prob": []}.items():
        layer = layers.add(name=name)
        for tensor in tensors:
            blob = layer.blobs.add(data=tensor.detach().flatten().tolist())
            if legacy:
                sizes = [1] * (4 - tensor.ndim) + [*tensor.shape]
                blob.num, blob.channels, blob.height, blob.width = sizes
            else:
                blob.shape.dim.extend(tensor.shape)
    return network.SerializeToString()
