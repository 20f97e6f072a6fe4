"""PostgreSQL: Django's backend with our time limits."""
