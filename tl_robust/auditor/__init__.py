"""Conducts an audit: reads two files, asks the locks, attacks, and writes down what was found."""
