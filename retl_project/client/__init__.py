"""The Python client: one typed module, made from the document of the API."""
