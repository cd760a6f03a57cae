"""Tables and pictures for people, and a parser of the logs they show; everything here takes plain data."""
