"""One module for each foreign system. Its errors are translated here, once, at the door."""
