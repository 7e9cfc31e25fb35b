"""The only wiring: ``core`` answers questions and feeds the ledger, ``service`` adds HTTP."""
