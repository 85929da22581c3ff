"""The report of a run as one page of HTML: what it says in sections, and the document around them."""
