"""The feed of events: every committed change of the ledger, in one order for ever.

Removable: `wallets` does not know it. No service emits an event. The ledger's rows are
append-only, so the events are made from them afterwards, each exactly once.
"""
