"""The groups of settings, one module per topic. docs/reference/configuration.md is generated from their descriptions.

A description begins with a short phrase, which is also shown when a required setting is missing.
"""
