"""The check of each request's key, and its documentation."""
