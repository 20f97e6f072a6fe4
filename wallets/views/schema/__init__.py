"""The OpenAPI document: what each endpoint takes and answers, including headers.

Serializers do not know the codes, headers and limits of an endpoint, so tables beside
the views list them. The tests compare every answer with the document. No request uses
this package, except those for the document.
"""
