"""Retrieval: from a dataset and limits to ranked networks of a zoo."""

from nns.retrieval.measuring import latencies, load_network
from nns.retrieval.results import Candidate, QueryDataset, SearchResult, SearchSeconds
from nns.retrieval.searching import query_record, search

__all__ = [
    "Candidate",
    "QueryDataset",
    "SearchResult",
    "SearchSeconds",
    "latencies",
    "load_network",
    "query_record",
    "search",
]
