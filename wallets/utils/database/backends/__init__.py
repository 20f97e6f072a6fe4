"""Django's backends for servers, with limits that hold by statements.

What a server or a pooler does with start-up parameters is its own decision; a statement
is carried out or fails.
"""
