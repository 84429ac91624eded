"""How nns grows with the networks of a zoo."""
