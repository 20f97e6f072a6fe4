"""What MySQL and MariaDB can do, as far as it is used here."""

from django.db.backends.mysql import features


class DatabaseFeatures(features.DatabaseFeatures):
    """UUIDs are text everywhere, as on MySQL and on MariaDB before 10.7.

    MariaDB's own type refuses UUIDs that are valid: a version of 8 to f with a variant of
    0 to 7, a quarter of all keys that a client might make by hand. And a server that is
    updated to 10.7 would be asked for a type that its tables do not have.
    """

    has_native_uuid_field = False
