"""How long things are kept: the rules, the figures, and the purge that deletes in small batches what is old.

``rules``: how many days each kind stays. ``parts``: what a kind consists of and what keeps a row. ``passes``: asking for a
purge and looking after it. ``work``: doing it. ``figures``: what there is.
"""
