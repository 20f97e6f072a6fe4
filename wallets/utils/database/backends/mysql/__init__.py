"""MySQL and MariaDB: Django's backend with limits of our own."""
