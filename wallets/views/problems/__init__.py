"""Problems (RFC 9457): the catalogue, and how an exception becomes one."""
