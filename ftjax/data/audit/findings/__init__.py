"""What an audit finds, as sentences with counts and examples."""
