"""Features of MySQL and MariaDB, as this project uses them."""

from django.db.backends.mysql import features


class DatabaseFeatures(features.DatabaseFeatures):
    """UUIDs are text everywhere, as on MySQL and on MariaDB before 10.7.

    MariaDB's own type refuses some valid UUIDs: versions 8 to f with a variant of 0 to
    7, which is a quarter of random hexadecimal keys. And after an update to 10.7 Django
    would expect a type that the tables do not have.
    """

    has_native_uuid_field = False
