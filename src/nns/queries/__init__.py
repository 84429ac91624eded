"""Queries: the frozen extractor that turns images into the features with which a space is searched."""

from nns.queries.extractor import DEFAULT_EXTRACTOR, QUERY_DIM, QUERY_SIZE, EfficientNetLite0Extractor

__all__ = ["DEFAULT_EXTRACTOR", "QUERY_DIM", "QUERY_SIZE", "EfficientNetLite0Extractor"]
