"""Background work: jobs of many requests, run by RQ workers over the same chain.

What must not be lost is in the ledger's database: jobs, their items, the state of each. Redis only
carries the word that there is something to do; emptied, it is filled again from the database.
"""
