"""What is looked at before the vendor's program is started: the card, its host, the files."""
