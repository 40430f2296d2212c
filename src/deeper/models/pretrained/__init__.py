"""Importers of published weights: torchvision's, BVLC's and the ONNX zoo's GoogLeNet."""
