"""PostgreSQL: Django's backend with limits of our own."""
