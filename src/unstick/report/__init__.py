"""Reports: for the terminal, as JSON, as HTML. Everything here is made from the dictionary that a report gives."""
