"""Retrieval: from a dataset and limits to ranked networks of a zoo."""

from nns.retrieval.measuring import latencies, load_network
from nns.retrieval.results import Candidate, QueryDataset, SearchResult, SearchSeconds
from nns.retrieval.searching import query_record, search
from nns.retrieval.together import choose_together

__all__ = [
    "Candidate",
    "QueryDataset",
    "SearchResult",
    "SearchSeconds",
    "choose_together",
    "latencies",
    "load_network",
    "query_record",
    "search",
]
