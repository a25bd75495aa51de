"""`jibe-sqs check`: one module for each topic. Each check is independent of the others, and only reads.

problems.py      what a check finds: a `Problem` with a code and a remedy, or `Fine`
facts.py         what checks ask AWS for, and how AWS refuses
running.py       runs checks at the same time, and turns every failure into a finding
the others       the checks of one topic each
"""
