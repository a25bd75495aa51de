"""From settings to a running service. The only package that names every concrete class.

Its modules are imported by themselves: a command that needs no AWS client then imports none.
"""
