"""Who may ask, and how much.

keys         what a key looks like, and what is kept of it
peppers      under which ones a ledger's keys are
callers      who asks, by a key; keyring: all that a worker knows, and whether one is good
following    how a worker hears of changes to keys and tenants
rates        a bucket of units; sharing: one limit held by many workers; limits: all that there are
usage        what was asked, by tenant; reports: as it is shown
attempts     failed attempts by invoice and day
enumeration  whether a caller asks as guessers do; noticing: what comes of it
exchange     what workers count is written to the primary, and what others count is read
store        what operators do to tenants and keys; rows: how they see them
audit        who did what, linked so that a change to it shows
"""
