"""What a person looks at: tables, pictures, and the logs they are drawn from. Everything here takes plain data."""
