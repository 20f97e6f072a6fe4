"""Times as the logs and the console write them, to the second, in UTC."""

DATETIME_FORMAT = "Y-m-d H:i:s"
