"""The web page, the REST API and the metrics: a client of the queue like any other."""
