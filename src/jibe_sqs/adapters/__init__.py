"""One module for each foreign system. It raises only our errors: foreign errors are translated here, once."""
