"""How Django's own pages write numbers and times."""
