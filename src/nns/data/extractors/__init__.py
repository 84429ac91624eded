"""The frozen extractors that turn images into the features with which a space is searched."""

from nns.data.extractors.choosing import Extractor, extractor_of, make_extractor
from nns.data.extractors.efficientnet_lite0 import DEFAULT_EXTRACTOR, QUERY_DIM, QUERY_SIZE, EfficientNetLite0Extractor
from nns.data.extractors.resnet18 import RESNET18_DIM, RESNET18_EXTRACTOR, RESNET18_SIZE, ResNet18Extractor

__all__ = [
    "DEFAULT_EXTRACTOR",
    "QUERY_DIM",
    "QUERY_SIZE",
    "RESNET18_DIM",
    "RESNET18_EXTRACTOR",
    "RESNET18_SIZE",
    "EfficientNetLite0Extractor",
    "Extractor",
    "ResNet18Extractor",
    "extractor_of",
    "make_extractor",
]
