"""A store in one HDF5 file with a journal folder beside it; docs/zoo-format.md says what is in them."""
