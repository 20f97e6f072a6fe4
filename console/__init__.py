"""The operators' console: the state of payouts, and the actions of operators.

Removable: nothing imports it. Reads go through `console.queries`. Every button is one
call of a service of `wallets`, with the operator as actor.
"""
