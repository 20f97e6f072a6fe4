"""The OpenAPI document: what each endpoint takes and answers, to the last header.

It is written down here, beside the views, and not guessed from them: no serializer knows
which codes, headers and limits an endpoint has. The tests hold every answer that they get
against it, so it cannot say what is not so. Nothing here runs while a request is served,
except to show the document.
"""
