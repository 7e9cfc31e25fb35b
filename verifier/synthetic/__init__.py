"""A believable ledger that belongs to nobody, and questions about it, from a seed.

ledger (rows) · questions (requests with the answers to expect) · profiles (what each kind and
region looks like) · parties (sellers and buyers) · popularity (Zipf) · draws (the randomness).
Everything is integer arithmetic on SHAKE-128 output: the same arguments give the same bytes on
every machine and every version of Python.
"""
