"""What every endpoint of the API shares: keys, rights, errors, pages, edits that are not lost, and the document."""
