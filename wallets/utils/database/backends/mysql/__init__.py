"""MySQL and MariaDB: Django's backend with our time limits."""
