"""What is done to zoos to find out whether they lose anything."""
