"""What `make docs` makes of the sources: pages of the API, of all names, of the root's texts, and the navigation."""
