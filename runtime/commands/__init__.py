"""The command line of a node: `levada up`, `run`, `check`, `status`, `settings`, and the rest.

`levada.main` puts the commands together and hands in the attachments: what other packages add to
a running node (provenance's index and routes, the web server).
"""
