"""AWS on this machine: moto with the project's own CloudFormation templates, a writer of changes, and publishers of
logs.
"""
