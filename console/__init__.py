"""The operators' pages: what goes on, why, and the few things a person may do about it.

Removable: nothing imports it. Reads go through `console.queries`; every button is one
call of a service of `wallets`, with the operator recorded as its actor.
"""
